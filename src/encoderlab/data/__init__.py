"""Read files, folders and hub data sets into rows of text and labels, and split the rows.

Public: `source.Source`, `readers.read`, `rows.Rows`, `prepare.prepare`, `splits.load_splits`.
"""
