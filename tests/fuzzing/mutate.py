"""Damage: to bytes, to JSON values, to the cells of a table. Everything is drawn from the generator that is given."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Sequence
from typing import Any

from numpy.random import Generator

Bytes = Callable[[bytes, Generator], bytes]


def pick(draw: Generator, choices: Sequence[Any]) -> Any:
    """One of `choices`, which numpy would turn into an array."""
    return choices[int(draw.integers(len(choices)))]


def chance(draw: Generator, share: float) -> bool:
    return bool(draw.random() < share)


def _span(data: bytes, draw: Generator) -> tuple[int, int]:
    start = int(draw.integers(len(data) + 1))
    return start, min(len(data), start + int(draw.integers(1, 40)))


def _flip(data: bytes, draw: Generator) -> bytes:
    some = bytearray(data)
    for _ in range(int(draw.integers(1, 5))):
        if some:
            some[int(draw.integers(len(some)))] ^= 1 << int(draw.integers(8))
    return bytes(some)


def _overwrite(data: bytes, draw: Generator) -> bytes:
    start, stop = _span(data, draw)
    return data[:start] + draw.bytes(stop - start) + data[stop:]


def _insert(data: bytes, draw: Generator) -> bytes:
    start, _ = _span(data, draw)
    return data[:start] + pick(draw, INSERTED) + data[start:]


def _delete(data: bytes, draw: Generator) -> bytes:
    start, stop = _span(data, draw)
    return data[:start] + data[stop:]


def _truncate(data: bytes, draw: Generator) -> bytes:
    return data[: int(draw.integers(len(data) + 1))]


def _duplicate(data: bytes, draw: Generator) -> bytes:
    start, stop = _span(data, draw)
    return data[:stop] + data[start:stop] * int(draw.integers(1, 4)) + data[stop:]


def _swap(data: bytes, draw: Generator) -> bytes:
    (a, b), (c, d) = sorted([_span(data, draw), _span(data, draw)])
    return data if c < b else data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _long_line(data: bytes, draw: Generator) -> bytes:
    start, _ = _span(data, draw)
    return data[:start] + pick(draw, [b"a", b"\xc3\xa9", b" ", b'"', b",", b"[", b"1", b"\t"]) * 300_000 + data[start:]


def _in_front(data: bytes, draw: Generator) -> bytes:
    return (
        pick(draw, [codecs.BOM_UTF8, codecs.BOM_UTF8 * 2, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"\n", b"\0"])
        + data
    )


def _recode(data: bytes, draw: Generator) -> bytes:
    return data.decode("utf-8", "replace").encode(pick(draw, ["utf-16", "utf-16-le", "utf-32", "cp1252"]), "replace")


def _line_ends(data: bytes, draw: Generator) -> bytes:
    return data.replace(b"\n", pick(draw, [b"\r", b"\r\n", b"\n\n", b"\n\r", b"", b"\x0b", b"\xe2\x80\xa8"]))


INSERTED = [
    *(
        b"\0",
        b"\r",
        b"\n",
        b"\r\n",
        b"\t",
        b'"',
        b'""',
        b"'",
        b",",
        b";",
        b"\\",
        b"[",
        b"]",
        b"{",
        b"}",
        b"#",
        b"\x1b[2J",
    ),
    *(
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc0\x80",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xa8",
        b"\xc2\xa0",
    ),
    *(b"nan", b"-1", b"1e400", b"9" * 5000, b"null", b"NaN", b"\x1f\x8b\x08", b"PK\x03\x04", b"\x7f", b"\x85", b"\x1a"),
]
BYTES: tuple[Bytes, ...] = (
    *(_flip, _overwrite, _insert, _insert, _delete, _truncate, _duplicate, _swap),
    *(_long_line, _in_front, _recode, _line_ends),
)


def damaged(data: bytes, draw: Generator) -> bytes:
    """`data` with one to three kinds of damage."""
    for _ in range(int(draw.integers(1, 4))):
        data = pick(draw, BYTES)(data, draw)
    return data


# Cells as text formats have them.
CELLS = [
    *(
        "",
        " ",
        "nan",
        "NaN",
        "-1",
        "-1.0",
        "-2",
        "0",
        "1",
        "1.0",
        "0.5",
        "1e400",
        "-1e400",
        "1e-400",
        "inf",
        "9" * 5000,
    ),
    *("true", "null", "None", "n/a", "[]", "['a', 'b']", '["a", "b"]', "[1, 2", "{}", '{"a": 1}', '"', '""', 'a "b" c'),
    *("a,b", "a;b", "a\tb", "a\nb", "a\rb", "a\r\nb", "\0", "\x1b[2J", "\u2028", "\xa0", "\ufeff", "\u202e", "e\u0301"),
    *("1,5", "1.234,5", "2024-01-01", "=1+1", "#", "# a", "é" * 1000, "a" * 200_000, "\U0001f600", "\ud83d", "٣", "１"),
    *("pos ", "POS", "[[[[", "[" * 2000, "-100", "1_000", "0x10", "+1", ".5", "1e5", "--", "%s", "{0}", "[PAD]", "\\"),
]
# JSON values, as they stand in a file.
VALUES = [
    *("null", "true", "false", "0", "-1", "1.5", "-0.0", "1e400", "-1e400", "NaN", "Infinity", "9" * 400, "9" * 5000),
    *('""', '" "', '"nan"', '"1"', '"\\ud800"', '"\\u0000"', '"\\ud83d\\ude00"', '"\\u2028"', '"\\u001b[2J"', '"pos "'),
    *(
        "[]",
        "[[]]",
        "[null]",
        "[1, 2]",
        '["a", "b"]',
        '["a", 1, null, true]',
        "{}",
        '{"a": 1}',
        '[{"a": [1, {"b": 2}]}]',
    ),
    *(
        "[" * 60 + "]" * 60,
        "[" * 3000 + "]" * 3000,
        "[" * 100_000,
        "1" + "0" * 300,
        "-100",
        "[-100, 1]",
        '{"text": ["a"]}',
    ),
    *(
        '{"": 1}',
        '{"a": 1, "a": 2}',
        '"' + "a" * 200_000 + '"',
        "2147483648",
        "-9223372036854775809",
        "1E5",
        "0.1",
        "{",
    ),
]
_HOLE = "\u241e{}\u241e"


def dumps(value: Any, raw: dict[str, str], **how: Any) -> str:
    """JSON of `value`, where each string that `hole` gave stands for its raw text in `raw`."""
    text = json.dumps(value, **how)
    for name, written in raw.items():
        text = text.replace(json.dumps(name), written)
    return text


def hole(raw: dict[str, str], draw: Generator) -> str:
    """A string that `dumps` replaces by a drawn JSON value."""
    name = _HOLE.format(len(raw))
    raw[name] = pick(draw, VALUES)
    return name


def json_changed(value: Any, draw: Generator) -> bytes:
    """JSON of `value` with one to three of its values, anywhere inside, replaced, removed or said twice."""
    raw: dict[str, str] = {}
    value = json.loads(json.dumps(value))
    for _ in range(int(draw.integers(1, 4))):
        places = list(_places(value))
        if not places:
            return dumps(hole(raw, draw), raw).encode("utf-8", "surrogatepass")
        inside, key = pick(draw, places)
        match int(draw.integers(8)):
            case 0:
                del inside[key]
            case 1 if isinstance(inside, dict):
                inside[pick(draw, ["", "é", "a" * 300, "__class__", str(key).upper()])] = inside.pop(key)
            case 2:
                other, name = pick(draw, places)
                inside[key] = json.loads(json.dumps(other[name]))
            case _:
                inside[key] = hole(raw, draw)
    return dumps(value, raw).encode("utf-8", "surrogatepass")


def _places(value: Any) -> Any:
    """(container, key) of every value inside."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])
