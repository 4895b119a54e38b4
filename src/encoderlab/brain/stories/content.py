"""Read the bytes or the text of a file of stories.

A pointer of git-annex or git-lfs in place of the file is an error. Texts are UTF-8 or UTF-16, with or without a byte
order mark. Other encodings are refused: the same byte is one letter in Windows-1252 and another in Mac Roman, so a
wrong guess would change words silently.
"""

from __future__ import annotations

import codecs
import math
from pathlib import Path

from encoderlab.core.errors import InputError

_POINTERS = {b"/annex/objects/": "git-annex", b"../.git/annex/": "git-annex", b"version https://git-lfs": "git-lfs"}
_FETCH = {"git-annex": "run `datalad get` or `git annex get` on it", "git-lfs": "run `git lfs pull`"}


def content(path: Path) -> bytes:
    """Read the bytes of a file.

    Raises:
        InputError: the file cannot be read, or it is a pointer to content that was not fetched.
    """
    if path.is_symlink() and not path.exists():
        raise InputError(f"{path}: a link to a file that is not here; with git-annex or DataLad, {_FETCH['git-annex']}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    for start, tool in _POINTERS.items():
        if data.startswith(start):
            raise InputError(f"{path}: a pointer of {tool}; the file itself was not fetched; {_FETCH[tool]}")
    return data


def text_of(path: Path) -> str:
    """Read a text file.

    Raises:
        InputError: the text is neither UTF-8 nor UTF-16; the message names the line of the first wrong byte.
    """
    data = content(path)
    encoding = _encoding(data)
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise InputError(f"{path}: the file is cut off, or is not {encoding.upper()} text; copy it again") from None
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: byte 0x{data[error.start]:02X} is not UTF-8{_guesses(data, error.start)}; save the file "
            "as UTF-8, e.g. iconv -f CP1252 -t UTF-8, or in Praat under Text writing preferences"
        ) from None


def _encoding(data: bytes) -> str:
    """Choose UTF-8 or a form of UTF-16, by the byte order mark or by where the first zero bytes are."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(data) > 3 and data[0] and data[2] and not data[1] and not data[3]:
        return "utf-16-le"
    return "utf-16-be" if len(data) > 3 and not data[0] and not data[2] and data[1] and data[3] else "utf-8"


def _guesses(data: bytes, at: int) -> str:
    """Show the word around a wrong byte as the two usual encodings would read it."""
    start = max(data.rfind(mark, 0, at) for mark in (b" ", b"\n", b"\t", b'"')) + 1
    stop = min((end for mark in (b" ", b"\n", b"\t", b'"') if (end := data.find(mark, at)) > 0), default=len(data))
    word = data[start : min(stop, start + 40)].strip()
    windows, mac = (word.decode(name, "replace") for name in ("cp1252", "mac_roman"))
    return f" ({windows!r} in Windows-1252, {mac!r} in Mac Roman)" if windows.isprintable() else ""


def number_of(text: str) -> float | None:
    """Read a finite number, or return None for anything else."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None  # Python would read 1_0 as 10
