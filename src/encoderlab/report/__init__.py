"""Draw given tables: the page of a study, its figures and its words.

Public: `write`, which writes the page of a collected study.
"""

from encoderlab.core.lazy import lazily

PUBLIC = {"write": "study_page"}

__getattr__ = lazily(__name__, PUBLIC)


def __dir__() -> list[str]:
    return sorted(PUBLIC)
