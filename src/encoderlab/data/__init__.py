"""Read files, folders and hub data sets into rows of text and labels, and split the rows."""
