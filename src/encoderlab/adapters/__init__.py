"""Adapter files: the folder of encoderlab, the formats of PEFT, AdapterHub and loralib, and the model card.

Public: `load_adapter`, which model cards import from here, `save` and `read`.
"""

from encoderlab.core.lazy import lazily

PUBLIC = {"load_adapter": "folder", "read": "folder", "save": "folder"}

__getattr__ = lazily(__name__, PUBLIC)


def __dir__() -> list[str]:
    return sorted(PUBLIC)
