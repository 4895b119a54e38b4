"""A study file (TOML) -> frozen dataclasses, or every problem at once.

schema      the sections: a dataclass is a section, its fields are the keys
values      one value against its annotation, strictly, and both in words
reader      tables -> sections, and `-s key=value`
ranges      a setting that is searched: { low, high, log } or { choices }
variants    [[method]] sections -> the study's variants: grids, labels, learning rates
load        a whole file -> Study

docs/study-file.md lists every key.
"""

from encoderlab.config.launch import Launch
from encoderlab.config.load import Draft, load, read
from encoderlab.config.ranges import Range
from encoderlab.config.schema import Regime, Search, Study, Top, Train, Variant, meanings, resolved

__all__ = [
    "Draft",
    "Launch",
    "Range",
    "Regime",
    "Search",
    "Study",
    "Top",
    "Train",
    "Variant",
    "load",
    "meanings",
    "read",
    "resolved",
]
