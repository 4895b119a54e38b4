"""Detect the encoding of text files, and open them.

The default is UTF-8. A byte order mark tells UTF-8, UTF-16 or UTF-32; zeros at every second byte tell UTF-16 without a
mark. Other bytes are read as cp1252 (Windows, Western Europe) if they look like it: single letters with accents, curly
quotes, dashes, the euro sign. For any other encoding, the user must set `encoding` of the [data] source.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, final

from encoderlab.core.errors import InputError
from encoderlab.data.foreign import is_gzip

_BLOCK = 1 << 20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
FEW = 3  # with fewer bytes that are not UTF-8, the encoding cannot be detected
_RUN = re.compile(rb"[\x80-\xff]+")
_LAST_LETTERS, _WORD = re.compile(rb"[A-Za-z]*\Z"), re.compile(rb"^[A-Za-z\x80-\xff]*")
_LETTERS = rb"\xc0-\xd6\xd8-\xf6\xf8-\xff\x8a\x8c\x8e\x9a\x9c\x9e\x9f"
# Bytes that are rare in Western texts: many of them are parts of characters in other encodings (Shift-JIS, GBK, ...).
_SELDOM = re.compile(rb"[\x81-\x83\x86-\x89\x8b\x8d\x8f\x90\x98\x9b\x9d\xa4-\xa6\xa8\xac\xaf\xb6\xb8\xb9\xf7]")
_TWO_LETTERS = re.compile(rb"[" + _LETTERS + rb"]{2}")
# Superscripts, fractions, currency signs between letters are letters of another encoding (Polish, Turkish, ...).
_WITHIN_WORD = re.compile(
    rb"[a-z][\xa1-\xac\xae-\xb6\xb8-\xbf\xd7\xf7\x83\x86-\x89\x98\x99][a-z]"
    rb"|[\xa3\xa5\xaf\xb3\xb9\xbc\xbe][a-z]|[a-z][\xb9\xb3\xbe](?![a-z\d])"
)


@final
@dataclass(frozen=True)
class TextFile:
    """A text file whose encoding is known.

    Attributes:
        path: The file.
        encoding: The name of the encoding.
        notes: Notes on compression and encoding; none for plain UTF-8.
    """

    path: Path
    encoding: str
    notes: tuple[str, ...] = ()

    def lines(self, *, universal: bool = False) -> Iterator[str]:
        """Yield the lines with their ends. universal: a carriage return alone also ends a line."""
        with (
            _reading(self.path) as raw,
            io.TextIOWrapper(raw, self.encoding, newline="" if universal else "\n") as file,
        ):
            try:
                yield from file
            except (gzip.BadGzipFile, EOFError, zlib.error, OSError) as error:
                raise _broken(self.path, error) from None


def open_text(path: Path, encoding: str | None = None) -> TextFile:
    """Detect the encoding of a file by reading it once.

    Args:
        path: the file; it may be compressed with gzip.
        encoding: the encoding, if it is known; the file must then be valid in it.

    Raises:
        InputError: the file is not readable, or its encoding cannot be detected.
    """
    packed = _packing_notes(path)
    if encoding is not None:
        if wrong := _first_error(path, encoding):
            raise InputError(
                f"{path}:{wrong[0]}: byte 0x{wrong[1]:02X} is not {encoding}; correct `encoding`, or remove it for "
                "a file in UTF-8"
            )
        return TextFile(path, encoding, packed)
    with _reading(path) as file:
        try:
            start = file.read(4096)
        except (gzip.BadGzipFile, EOFError, zlib.error, OSError) as error:
            raise _broken(path, error) from None
    guess = next((name for mark, name in _MARKS if start.startswith(mark)), None) or _utf16(start) or "utf-8"
    wrong = _first_error(path, guess)
    if wrong is None:
        return TextFile(path, guess, packed if guess.startswith("utf-8") else (*packed, f"read as {guess.upper()}"))
    if guess.startswith("utf-8") and (example := _western(path)) is not None:
        note = f"not UTF-8: read as cp1252 (Western Europe, Windows), such as {example!r}; if that is wrong, set "
        return TextFile(
            path, "cp1252", (*packed, note + '`encoding` in the source (or --encoding), e.g. encoding = "cp1250"')
        )
    if b"\0" in start or path.suffix.lower() == ".gz" and packed:
        raise InputError(f"{path} is not a text file, and its kind is unknown; is it damaged, or is its name wrong?")
    what = "UTF-8" if guess.startswith("utf-8") else guess.upper()
    raise InputError(
        f"{path}:{wrong[0]}: byte 0x{wrong[1]:02X} is not {what}; save the file as UTF-8, or set "
        '`encoding` in its [data] source: { path = "' + path.name + '", encoding = "gb18030" } for Chinese, "cp1252" '
        'for Western Europe, "cp1250", "cp1251", "shift_jis", "euc_kr", ... (--encoding of predict and evaluate)'
    )


def _packing_notes(path: Path) -> tuple[str, ...]:
    """Return a note if the name of a file and its content differ in whether it is compressed."""
    try:
        packed = is_gzip(path)
    except OSError as error:
        raise _broken(path, error) from None
    named = path.suffix.lower() == ".gz"
    if packed == named or path.stat().st_size == 0:
        return ()
    return (
        ("compressed with gzip although its name does not end with .gz; read as gzip",)
        if packed
        else ("not compressed although its name ends with .gz; read as plain text",)
    )


def _reading(path: Path) -> IO[bytes]:
    """Open a file and unpack gzip. The content decides, because browsers unpack a file and keep its name."""
    try:
        return gzip.open(path) if is_gzip(path) else path.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> InputError:
    """Make the error for a file that cannot be read."""
    if isinstance(error, gzip.BadGzipFile | EOFError | zlib.error):
        return InputError(f"{path}: not a complete gzip file ({error}); copy or download it again")
    return InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}")


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield the unpacked bytes of a file in blocks."""
    with _reading(path) as file:
        try:
            while block := file.read(_BLOCK):
                yield block
        except (gzip.BadGzipFile, EOFError, zlib.error, OSError) as error:
            raise _broken(path, error) from None


def _first_error(path: Path, encoding: str) -> tuple[int, int] | None:
    """Return line and value of the first byte that is invalid in an encoding, or None."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    block = b""
    try:
        for block in _blocks(path):
            decoder.decode(block)
            line += block.count(b"\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return line + error.object[: error.start].count(b"\n"), error.object[error.start]
    except UnicodeError:  # UTF-16 and UTF-32 give no position
        return line, (block or b"\0")[0]
    return None


def _utf16(start: bytes) -> str | None:
    """Detect UTF-16 without a byte order mark: text in a Latin script has a zero in every second byte."""
    even, odd = start[0::2], start[1::2]
    if len(start) < 8:
        return None
    zeros = even.count(0) / len(even), odd.count(0) / len(odd)
    return (
        "utf-16-be" if zeros[0] > 0.4 > 0.05 > zeros[1] else "utf-16-le" if zeros[1] > 0.4 > 0.05 > zeros[0] else None
    )


def _western(path: Path) -> str | None:
    """Return an example word if a file is cp1252: its letters beyond ASCII stand alone. None for any other file."""
    decoder = codecs.getincrementaldecoder("cp1252")()
    count = pairs = odd = seldom = 0
    example = ""
    for block in _blocks(path):
        try:
            decoder.decode(block)
        except UnicodeDecodeError:
            return None
        runs = _RUN.findall(block)
        count += sum(map(len, runs))
        pairs += sum(len(run) for run in runs if len(run) > 2 or _TWO_LETTERS.match(run))
        odd += len(_WITHIN_WORD.findall(block))
        seldom += len(_SELDOM.findall(block))
        if not example and (first := _RUN.search(block)):
            start = first.start() - len(_LAST_LETTERS.findall(block[max(0, first.start() - 30) : first.start()])[0])
            example = _WORD.findall(block[start : start + 30])[0].decode("cp1252", "replace")
    return example if count >= FEW and max(pairs, odd, seldom) <= 0.2 * count else None
