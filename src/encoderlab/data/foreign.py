"""Recognise a file by its first bytes, and report files that are not what their name says."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from encoderlab.data.arrow import FILE_START, STREAM_START

_START = 1024  # bytes that are read
GZIP = b"\x1f\x8b"
_UNPACK = "unpack it and name the file in it"
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"%PDF", "a PDF document", "copy its table into a CSV file"),
    (b"{\\rtf", "an RTF document", "save it as plain text (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file (.xls, .doc)", "open it and save the sheet as CSV (UTF-8)"),
    (b"version https://git-lfs", "a Git LFS pointer, not the data", "fetch the data: git lfs pull"),
    (b"/annex/objects/", "a git-annex pointer, not the data", "fetch the data: git annex get"),
    (b"BZh", "compressed with bzip2", f"{_UNPACK}, or compress with gzip"),
    (b"\xfd7zXZ\0", "compressed with xz", f"{_UNPACK}, or compress with gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", f"{_UNPACK}, or compress with gzip"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    (b"FEA1", "a Feather file of version 1", "save it as version 2, or as Parquet"),
    (b"\x93NUMPY", "a numpy file", "save it as CSV or JSON Lines"),
    (b"\x89HDF", "an HDF5 file", "save it as Parquet"),
    (b"\x89PNG", "an image", "name the file with the rows"),
    (b"\xff\xd8\xff", "an image", "name the file with the rows"),
    (b"404: Not Found", "an error page (404), not the data", "download it again from the right address"),
    (b"Entry not found", "an error page (404), not the data", "download it again from the right address"),
)
# Binary formats that encoderlab reads: first bytes, name of the format, endings of the file name (the usual one first).
_BINARY: tuple[tuple[tuple[bytes, ...], str, tuple[str, ...]], ...] = (
    ((b"PAR1",), "a Parquet file", ("parquet",)),
    ((FILE_START, STREAM_START), "an Arrow file", ("arrow", "feather")),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05](\x95|[\]}(c])")
_PAGE = re.compile(rb"\s*(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_XML = re.compile(rb"\s*(<\?xml\s|<Error><Code>)", re.IGNORECASE)
_IN_ZIP = (
    ("xl/", "an Excel workbook (.xlsx)", "open it and save the sheet as CSV (UTF-8)"),
    ("word/", "a Word document (.docx)", "save its text as CSV or plain text"),
    ("Index/", "a Numbers or Pages document", "export it as CSV"),
    ("META-INF/manifest.xml", "a LibreOffice document (.ods)", "open it and save the sheet as CSV (UTF-8)"),
)


def is_gzip(path: Path) -> bool:
    """Return whether the content of a file is gzip, whatever its name. Raises OSError if the file cannot be read."""
    with path.open("rb") as file:
        return file.read(len(GZIP)) == GZIP


def foreign(path: Path, form: str | None) -> str | None:
    """Return what is wrong with the content of a file, as one line, or None.

    Args:
        path: an existing file.
        form: the format that its name promises; None for an unknown one.
    """
    try:
        start = _start(path)
    except OSError:
        return None  # reported when the file is opened to be read
    mark = b"" if not start.startswith(b"\xef\xbb\xbf") else b"\xef\xbb\xbf"
    if found := _kind(start.removeprefix(mark), path):
        kind, advice = found
        return f"{path} is {kind}; {advice}"
    if problem := _misnamed(start, path, form):
        return problem
    if form in ("csv", "tsv") and re.match(rb'\s*(\[\s*)?\{\s*"[^"]*"\s*:', start):
        return f"{path} is JSON, not a table; rename it to end with .jsonl (one object per line) or .json (a list)"
    if form in ("json", "jsonl") and re.match(rb"[\w \"'-]+([,;\t|][\w \"'-]+)+\r?\n", start):
        return f"{path} is a table, not JSON; rename it to end with .csv (or .tsv, with tabs)"
    return None


def _misnamed(start: bytes, path: Path, form: str | None) -> str | None:
    """Return what is wrong if a binary file has the ending of another format, or another file a binary ending."""
    for starts, kind, endings in _BINARY:
        if start.startswith(starts):
            return None if form in endings else f"{path} is {kind}; rename it to end with .{endings[0]}"
    for _, kind, endings in _BINARY:
        if form in endings and start:
            if start.startswith(GZIP):
                return f"{path} is compressed with gzip; unpack it: {kind} is compressed inside"
            shown = start[:20].decode("ascii", "replace").split("\n")[0]
            name = kind.partition(" ")[2]
            return f"{path}: not a readable {name}: it starts with {shown!r}; correct the ending of its name"
    return None


def _start(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked if it is gzip."""
    with path.open("rb") as file:
        start = file.read(_START)
    binary = path.suffix.lower().removeprefix(".") in {ending for _, _, endings in _BINARY for ending in endings}
    if binary or not start.startswith(GZIP):
        return start
    try:
        with gzip.open(path) as file:
            return file.read(_START)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return b""  # a damaged file is reported when it is read


def _kind(start: bytes, path: Path) -> Sequence[str] | None:
    """Return (what it is, what to do) for a kind of file that encoderlab never reads, or None."""
    if start.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    for magic, kind, advice in _KINDS:
        if start.startswith(magic):
            return kind, advice
    if start[257:262] == b"ustar":
        return "a tar archive", _UNPACK
    if _PICKLE.match(start):
        return "a Python pickle", "save it as CSV, JSON Lines or Parquet; opening a pickle can run code"
    if _PAGE.match(start):
        return "a web page (an error or a log-in page?), not the data", "download the file itself, not its page"
    if _XML.match(start):
        return "an XML file", "convert it to CSV or JSON Lines; is it the error message of a download?"
    return None


def _zip_kind(path: Path) -> Sequence[str]:
    """Return (what it is, what to do) for a ZIP archive, from the names inside it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        names = []
    for prefix, kind, advice in _IN_ZIP:
        if any(name.startswith(prefix) for name in names):
            return kind, advice
    return "a ZIP archive or an Excel workbook", f"{_UNPACK}, or save the sheet as CSV (UTF-8)"
