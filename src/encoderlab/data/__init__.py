"""Files, folders and data sets of the hub become rows of text and labels, then tokens."""
