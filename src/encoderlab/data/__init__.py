"""File, folder or hub name -> named splits of rows, each with a fingerprint.

source    what a study file says about its data, and everything that can be wrong with that
foreign   what a file is by its first bytes
text      text files, in the encoding that they are in
delimited CSV and TSV, record by record
records   JSON and JSONL, in any form
conll     words and labels, a line each
cells     lists and objects that a cell spells out
number_cells  numbers as people write them
suspects  what looks like a mistake
readers   one function per format; bytes in, columns out
rows      Rows, canonical labels
splits    which rows become train, validation and test
"""

from encoderlab.data.readers import read, stream
from encoderlab.data.rows import Rows, class_order, example_rows, prepare
from encoderlab.data.source import DataConfig, Source
from encoderlab.data.splits import Splits, load_splits

__all__ = [
    "DataConfig",
    "Rows",
    "Source",
    "Splits",
    "class_order",
    "example_rows",
    "load_splits",
    "prepare",
    "read",
    "stream",
]
