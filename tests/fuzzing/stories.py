"""Files of stories: TextGrid, TSV of words, the laboratory's pickle."""

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

from encoderlab import stories

from .mutate import CELLS, chance, damaged, pick
from .run import Target

NUMBERS = [
    *("0", "-1", "4", "1e9", "1000000000", "1e400", "-1e400", "nan", "inf", "9" * 400, "9" * 5000, "0.5", "1,5", ""),
    *(
        "1e-400",
        "2147483648",
        "1e15",
        "999999",
        "1e6",
        "--1",
        "0x10",
        "+3",
        "3.",
        '"3"',
        "<exists>",
        "n/a",
        "N/A",
        "null",
    ),
]
Case = tuple[Path, int | None, int | None]  # the file; how many stories and how many words, where that is known


def check(case: Case, shared: Any) -> list[str]:
    path, count, words = case
    found = stories.read(path)
    assert found, "no story"
    assert count is None or len(found) == count, f"{len(found)} of {count} stories were read"
    for story in found:
        assert len(story.words) == len(story.times), "words and times differ in number"
        assert np.isfinite(story.times).all() and np.isfinite(story.tr_times).all(), "a time that is not finite"
        assert len(story.tr_times) and (np.diff(story.tr_times) > 0).all(), "TR times do not ascend"
        assert len(story.tr_times) < 2_000_000, f"{len(story.tr_times)} TRs"
        for text in (story.name, *story.words, *story.notes):
            text.encode()  # a lone surrogate cannot be written
        _ = story.words_fingerprint
    read = sum(len(story.words) for story in found)
    notes = [note for story in found for note in story.notes if not note.startswith("tier ")]
    assert words is None or read == words or notes, f"{read} of {words} words and no note"
    return notes


def _textgrid(draw: Generator) -> tuple[str, int | None]:
    """Long or short form, with numbers, names, kinds and texts replaced; how many words it has if none was."""
    short, mangled = chance(draw, 0.5), False

    def said(key: str, value: Any) -> str:
        nonlocal mangled
        if chance(draw, 0.03):
            mangled = True
            value = pick(draw, [*NUMBERS, '"' + pick(draw, CELLS) + '"', pick(draw, CELLS)])
        return str(value) if short else f"{key} = {value} "

    texts = ["once", "upon", "#", "{LG}", "", 'say ""hi""', "café"]
    intervals = [pick(draw, texts) for _ in range(int(draw.integers(1, 7)))]
    names = pick(draw, [["words"], ["phones", "words"], ["words", "Words"], ["a"], ["a", "b"], [""], []])
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", said("xmin", 0), said("xmax", 4)]
    lines += ["<exists>" if short else "tiers? <exists> ", said("size", len(names))]
    for i, name in enumerate(names):
        kind = pick(draw, ["IntervalTier"] * 5 + ["TextTier", "intervaltier"])
        lines += [] if short else [f"    item [{i + 1}]:"]
        lines += [said("class", f'"{kind}"'), said("name", f'"{name}"'), said("xmin", 0), said("xmax", 4)]
        lines += [said("intervals: size", len(intervals))]
        for j, text in enumerate(intervals):
            lines += [] if short else [f"        intervals [{j + 1}]:"]
            times = [said("number", j)] if kind == "TextTier" else [said("xmin", j / 2), said("xmax", j / 2 + 0.5)]
            lines += [*times, said("text", f'"{text}"')]
    count = sum(text in ("once", "upon", "café", 'say ""hi""') for text in intervals)
    return "\n".join(lines) + "\n", None if mangled else count


def _write_textgrid(draw: Generator, folder: Path, shared: Any) -> Case:
    text, words = _textgrid(draw)
    if chance(draw, 0.15):
        lines = text.splitlines()
        place = int(draw.integers(len(lines)))
        lines[place : place + int(draw.integers(3))] = [
            pick(draw, ["! comment 12", "", '"', "<absent>", "size = 1e9", *CELLS])
        ]
        text, words = "\n".join(lines), None
    encoding = pick(draw, ["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1"])
    data = text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")
    if chance(draw, 0.5):
        data, words = damaged(data, draw), None
    (folder / "tale.TextGrid").write_bytes(data)
    return folder / "tale.TextGrid", 1, words


def _write_tsv(draw: Generator, folder: Path, shared: Any) -> Case:
    names = ["onset", "duration", "word"] + (["more"] if chance(draw, 0.3) else [])
    rows = [[f"{i / 2}", "0.4", pick(draw, ["once", "upon", '"', "café"])] + ["x"] * (len(names) - 3) for i in range(6)]
    words: int | None = len(rows)
    for _ in range(int(draw.integers(0, 4))):
        row, column = pick(draw, rows), int(draw.integers(len(names)))
        row[column], words = pick(draw, NUMBERS if column < 2 and chance(draw, 0.7) else CELLS), None
    if chance(draw, 0.4):
        words = None
        match int(draw.integers(6)):
            case 0:
                names[int(draw.integers(len(names)))] = pick(
                    draw, ["", "word", "Onset", " onset", "\ufeffonset", "\ud800"]
                )
            case 1:
                pick(draw, rows).append(pick(draw, CELLS))
            case 2:
                pick(draw, rows).pop()
            case 3:
                rows = rows[: int(draw.integers(2))]
            case 4:
                rows = rows[::-1]
            case 5:
                rows.insert(int(draw.integers(6)), pick(draw, [[], [""], ["# comment"], names]))
    order = draw.permutation(len(names)) if chance(draw, 0.3) else range(len(names))
    lines = ["\t".join(row[i] for i in order if i < len(row)) for row in [names, *rows]]
    data = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
    if chance(draw, 0.5):
        data, words = damaged(data, draw), None
    (folder / "tale.tsv").write_bytes(data)
    return folder / "tale.tsv", 1, words


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


OPCODES = [
    *(
        b"(",
        b".",
        b"0",
        b"1",
        b"2",
        b"N",
        b"]",
        b"}",
        b")",
        b"a",
        b"b",
        b"e",
        b"s",
        b"u",
        b"t",
        b"l",
        b"d",
        b"R",
        b"\x81",
    ),
    *(
        b"\x85",
        b"\x86",
        b"\x87",
        b"\x88",
        b"\x90",
        b"\x91",
        b"\x92",
        b"\x93",
        b"\x94",
        b"Q",
        b"o",
        b"K\x05",
        b"I9\n",
        b"F1e400\n",
    ),
    *(b"h\x00", b"q\x05", b"r" + struct.pack("<I", 2**31 - 1), b"r" + struct.pack("<I", 2**26), b"j\xff\xff\xff\x7f"),
    *(
        b"\x8b\xff\xff\xff\x7f",
        b"\x8e" + struct.pack("<Q", 2**60),
        b"\x8d" + struct.pack("<Q", 2**40),
        b"\x95" + b"\xff" * 8,
    ),
    *(
        b"X\xff\xff\xff\x7f",
        b"U\xffa",
        b"\x8c\xff",
        b"L" + b"9" * 5000 + b"L\n",
        b"\x96" + struct.pack("<Q", 2**33),
        b"\x97",
        b"\x98",
    ),
    *(
        b"cnumpy\nndarray\n",
        b"cnumpy\ndtype\n",
        b"cbuiltins\neval\n",
        b"ccollections\nOrderedDict\n",
        b"S'a'\n",
        b"V\\ud800\n",
    ),
    *(
        b"P1\n",
        b"\x82\x01",
        b"\x80\x09",
        b"p1000000000\n",
        b"g7\n",
        b"G" + struct.pack(">d", float("nan")),
        b"J\xff\xff\xff\xff",
    ),
]


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
    for _ in range(int(draw.integers(0, 3))):
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
    which = int(draw.integers(4))
    data = damage[which]()
    (folder / "raw_text.pkl").write_bytes(codecs.BOM_UTF8 + data if chance(draw, 0.02) else data)
    return folder / "raw_text.pkl", count if which == 0 else None, None


TARGETS = {
    "textgrid": Target(write=_write_textgrid, read=check, named="tale."),
    "words-tsv": Target(write=_write_tsv, read=check, named="tale."),
    "pickle": Target(write=_write_pickle, read=check, named="raw_text.pkl"),
}
