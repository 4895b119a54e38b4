"""File, folder or hub name -> named splits of rows, each with a fingerprint.

source    what a study file says about its data, and everything that can be wrong with that
records   CSV, TSV and JSONL, record by record
readers   one function per format; bytes in, columns out
rows      Rows, canonical labels
splits    which rows become train, validation and test
"""

from encoderlab.data.readers import read
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
]
