"""One run: the loop, its checkpoints, its folder and its record.

Public: `run.execute`, `run_folder.RunFolder`, `run_record.RunRecord`, `settings.Train`.
"""
