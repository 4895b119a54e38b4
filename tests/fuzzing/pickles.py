"""The laboratory's pickle of stories: hostile values, opcodes, and calls of numpy's helpers."""

from __future__ import annotations

import codecs
import pickle
import pickletools
import struct
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from .mutate import chance, damaged, pick
from .run import Target
from .stories import Case, check

MODULE = "ridge_utils.DataSequence"


def _sequence(**state: Any) -> Any:
    """The laboratory's class under its own name, as the pickles of `raw_text.pkl` hold it."""
    if MODULE not in sys.modules:
        module = types.ModuleType(MODULE)
        kind = type("DataSequence", (), {"__module__": MODULE})
        module.DataSequence = kind  # type: ignore[attr-defined]
        sys.modules |= {"ridge_utils": types.ModuleType("ridge_utils"), MODULE: module}
    made = sys.modules[MODULE].DataSequence()
    made.__dict__.update(state)
    return made


def _value(draw: Generator) -> Any:
    huge = np.lib.stride_tricks.as_strided(np.zeros(1), shape=(8,), strides=(0,))
    return pick(
        draw,
        [
            *(
                None,
                1,
                "text",
                "",
                [],
                {},
                b"bytes",
                (),
                [None],
                ["\ud800"],
                [["a"]],
                float("nan"),
                10**400,
                True,
                "a\nb",
            ),
            *(np.array([1j, 2]), np.array(["a", "b"]), np.array([True]), np.array([]), np.array(3.0), huge),
            *(
                np.array([1, 2], "M8[s]"),
                np.zeros((2, 3)),
                np.zeros(3, "f2"),
                np.zeros(3, [("a", "f8")]),
                np.zeros(2, ">f8"),
            ),
            *(np.array([b"a"]), np.float64(1), np.int64(3), np.zeros(0, "U"), np.array(["\ud800"]), np.zeros(3, "V8")),
            *([1.0, "2"], [np.float64(1.0)] * 4, [0, 1, 2, 10**400], np.array([np.nan] * 4), np.array([3.0, 2, 1, 0])),
        ],
    )


SIMPLE = b"( . 0 1 2 N ] } ) a b e s u t l d R \x81 \x85 \x86 \x87 \x88 \x90 \x91 \x92 \x93 \x94 Q o \x97 \x98".split(
    b" "
)
SIZED = [
    *(b"h\x00", b"q\x05", b"r" + struct.pack("<I", 2**31 - 1), b"r" + struct.pack("<I", 2**26), b"j\xff\xff\xff\x7f"),
    *(b"\x8b\xff\xff\xff\x7f", b"\x8e" + struct.pack("<Q", 2**60), b"\x8d" + struct.pack("<Q", 2**40)),
    *(b"\x95" + b"\xff" * 8, b"X\xff\xff\xff\x7f", b"U\xffa", b"\x8c\xff", b"\x96" + struct.pack("<Q", 2**33)),
    *(b"\x82\x01", b"\x80\x09", b"G" + struct.pack(">d", float("nan")), b"J\xff\xff\xff\xff", b"K\x05"),
]
LINES = b"I9 F1e400 S'a' V\\ud800 P1 p1000000000 g7 cnumpy|ndarray cnumpy|dtype cbuiltins|eval".split()
OPCODES = [*SIMPLE, *SIZED, b"L" + b"9" * 5000 + b"L\n", *(line.replace(b"|", b"\n") + b"\n" for line in LINES)]


def _numpy_call(draw: Generator) -> bytes:
    """A whole pickle that calls one of numpy's helpers with hostile arguments."""
    shape = pick(
        draw,
        [
            b"(J\x00\xca\x9a;t",
            b"(\x8a\x08\x00\x00\x00\x00\x00\x00\x10\x00t",
            b"(J\xff\xff\xff\xfft",
            b"(K\x02" * 1 + b"K\x02" * 40 + b"t",
            b"N",
        ],
    )
    kind = pick(
        draw,
        [
            b"S'f8'\n",
            b"S'b'\n",
            b"S'V2000000000'\n",
            b"S'O'\n",
            b"S'(1000000,1000)f8'\n",
            b"N",
            b"S'U500000000'\n",
            b"S'f8,O'\n",
        ],
    )
    core = pick(draw, [b"numpy.core", b"numpy._core"])
    dtype = b"cnumpy\ndtype\n(" + kind + pick(draw, [b"", b"I0\nI1\n"]) + b"tR"
    array = (
        b"c" + core + b".multiarray\n_reconstruct\n(cnumpy\nndarray\n" + shape + pick(draw, [b"S'b'\n", kind]) + b"tR"
    )
    state = (
        array
        + b"(I1\n"
        + shape
        + dtype
        + pick(draw, [b"I00\n", b"I01\n", b"N"])
        + pick(draw, [b"S'" + b"a" * 16 + b"'\n", b"N", b"]"])
        + b"tb"
    )
    scalar = (
        b"c"
        + core
        + b".multiarray\nscalar\n("
        + dtype
        + pick(draw, [b"S'" + b"a" * 8 + b"'\n", b"N", b"S''\n"])
        + b"tR"
    )
    buffer = (
        b"c" + core + b".numeric\n_frombuffer\n(S'aaaaaaaa'\n" + dtype + shape + pick(draw, [b"S'C'\n", b"N"]) + b"tR"
    )
    times = pick(draw, [dtype, array, state, scalar, buffer, b"c_codecs\nencode\n(V" + b"a" * 10 + b"\nS'latin1'\ntR"])
    sequence = b"c" + MODULE.encode() + b"\nDataSequence\n)\x81}(S'data'\n](V a\naS'data_times'\n"
    whole = sequence.replace(b"](V a\na", b"(V a\nV b\nl") + times + b"S'tr_times'\n" + times + b"ub"
    return b"\x80\x04}S'tale'\n" + whole + b"s." if chance(draw, 0.8) else times + b"."


def _opcodes(data: bytes, draw: Generator) -> bytes:
    places = [place for _, _, place in pickletools.genops(data)] + [len(data)]
    parts = [data[a:b] for a, b in zip(places, places[1:], strict=False)]
    for _ in range(int(draw.integers(1, 4))):
        i, j = (int(draw.integers(len(parts))) for _ in "ab")
        match int(draw.integers(5)):
            case 0:
                del parts[i]
            case 1:
                parts.insert(i, parts[j])
            case 2:
                parts[i], parts[j] = parts[j], parts[i]
            case _:
                parts.insert(i, pick(draw, OPCODES))
    return b"".join(parts)


def _write_pickle(draw: Generator, folder: Path, shared: Any) -> Case:
    state = {
        "data": ["", "i", "don't", "know"],
        "split_inds": [np.int64(2)],
        "data_times": np.array([0.5, 1.0, 1.0, 99.0]),
        "tr_times": np.arange(-9.0, 9, 2),
    }
    held: dict[Any, Any] = {"tale": _sequence(**state), "other": _sequence(**state)}
    count: int | None = 2
    for _ in range(pick(draw, [0, 0, 1, 2])):
        changed = dict(state)
        changed[pick(draw, list(state))] = _value(draw)
        if chance(draw, 0.1):
            del changed[pick(draw, list(changed))]
        held[pick(draw, ["tale", "more", "", "a/b", "a\nb", "\ud800", "..", "a" * 5000, 3, None])] = _sequence(
            **changed
        )
        count = len(held)
    if chance(draw, 0.05):
        held, count = pick(draw, [[held], _value(draw), {"a": _value(draw)}, {}]), None
    data = pickle.dumps(held, protocol=int(draw.integers(0, 6)))
    for name in ("ridge_utils", MODULE):
        sys.modules.pop(name, None)
    damage: Sequence[Callable[[], bytes]] = (
        lambda: data, lambda: damaged(data, draw), lambda: _opcodes(data, draw), lambda: _numpy_call(draw)
    )  # fmt: skip
    which = pick(draw, [0, 0, 1, 2, 3])
    data = damage[which]()
    (folder / "raw_text.pkl").write_bytes(codecs.BOM_UTF8 + data if chance(draw, 0.02) else data)
    return folder / "raw_text.pkl", count if which == 0 else None, None


TARGETS = {"pickle": Target(write=_write_pickle, read=check, named="raw_text.pkl")}
