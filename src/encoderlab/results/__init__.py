"""Turn the runs of a study into tables: results.csv, summary.csv, summary.json, and the conclusions.

Public: `collect.collect`, `collect.read_table`, `table.Table`, `study_record.StudyRecord`.
"""
