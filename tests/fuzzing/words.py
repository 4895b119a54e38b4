"""Files of words with times beside TextGrid and TSV: CSV, JSON of programs that align or recognise speech, CTM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.random import Generator

from .mutate import CELLS, chance, damaged, dumps, hole, json_changed, pick
from .run import Target
from .stories import NUMBERS, Case, check

WORDS = ["once", "upon", "a", "café", "don't"]
HEADERS = (
    ["onset", "duration", "word"],
    ["word", "lemma", "onset", "offset", "section"],
    ["Begin", "End", "Label", "Type", "Speaker"],
    ["tmin", "tier", "text", "tmax"],
    [],  # Gentle's: the word, as heard, onset, offset
)


def _cells(header: list[str], number: int, word: str) -> list[str]:
    known = {"duration": "0.4", "section": "1", "type": "words", "tier": "words", "speaker": "A", "lemma": word}
    known |= dict.fromkeys(("onset", "begin", "tmin"), f"{number / 2}")
    known |= dict.fromkeys(("offset", "end", "tmax"), f"{number / 2 + 0.4}")
    return [known.get(name.lower(), word) for name in header] or [word, word, f"{number / 2}", f"{number / 2 + 0.4}"]


def _write_csv(draw: Generator, folder: Path, shared: Any) -> Case:
    header = pick(draw, HEADERS)
    rows = [_cells(header, i, pick(draw, WORDS)) for i in range(6)]
    words: int | None = len(rows)
    for _ in range(int(draw.integers(0, 4))):
        row = pick(draw, rows)
        row[int(draw.integers(len(row)))], words = pick(draw, [*NUMBERS, *CELLS]), None
    lines = [list(header), *rows] if header else rows
    if chance(draw, 0.3):
        words = None
        match int(draw.integers(4)):
            case 0:
                pick(draw, lines).append(pick(draw, CELLS))
            case 1:
                line = pick(draw, lines)
                del line[-1:]
            case 2:
                lines.insert(int(draw.integers(6)), pick(draw, [[], [""], ["# comment"], header]))
            case 3:
                del lines[int(draw.integers(2)) :]
    apart = pick(draw, [",", ",", ",", ";", "\t"])
    data = (pick(draw, ["\n", "\r\n"]).join(map(apart.join, lines)) + "\n").encode("utf-8", "surrogatepass")
    if chance(draw, 0.4):
        data, words = damaged(data, draw), None
    (folder / "tale.csv").write_bytes(data)
    return folder / "tale.csv", None if "section" in header else 1, words


def _aligned(draw: Generator, said: list[dict[str, Any]]) -> Any:
    """Gentle's, WhisperX's and the Montreal Forced Aligner's."""
    gentle = [{"case": "success", "alignedWord": one["word"].lower(), **one} for one in said]
    segment = {"start": 0.0, "end": 3.0, "text": "once upon", "words": said}
    entries = [[one.get("start", 0.0), one.get("end", 3.0), one["word"]] for one in said]
    tiers = {name: {"type": "interval", "entries": entries} for name in pick(draw, [["words"], ["words", "phones"]])}
    return pick(
        draw,
        [
            {"transcript": "once upon", "words": gentle},
            {"segments": [segment], "language": "en"},
            {"start": 0.0, "end": 3.0, "tiers": tiers},
        ],
    )


def _write_json(draw: Generator, folder: Path, shared: Any) -> Case:
    said: list[dict[str, Any]] = [
        {"word": pick(draw, WORDS), "start": i / 2, "end": i / 2 + 0.4} for i in range(int(draw.integers(1, 7)))
    ]
    words: int | None = len(said)
    raw: dict[str, str] = {}
    for _ in range(int(draw.integers(0, 3))):
        one, words = pick(draw, said), None
        one[pick(draw, ["word", "start", "end", "start", "end"])] = hole(raw, draw)
    whole = _aligned(draw, [{**one, "word": str(one["word"])} for one in said])
    if chance(draw, 0.3):
        data, words = json_changed(whole, draw), None
    else:
        data = dumps(whole, raw, ensure_ascii=chance(draw, 0.5)).encode("utf-8", "surrogatepass")
    if chance(draw, 0.3):
        data, words = damaged(data, draw), None
    (folder / "tale.json").write_bytes(data)
    return folder / "tale.json", 1, words


def _write_ctm(draw: Generator, folder: Path, shared: Any) -> Case:
    rows = [["tale", "1", f"{i / 2}", "0.4", pick(draw, WORDS), "0.9"] for i in range(6)]
    count, words = 1, len(rows)
    changed = chance(draw, 0.6)
    if changed:
        for _ in range(int(draw.integers(1, 4))):
            row = pick(draw, rows)
            row[int(draw.integers(len(row)))] = pick(draw, [*NUMBERS, *CELLS, "other", "a/b", ".."])
    lines = [" ".join(row[: pick(draw, [5, 6])]) for row in rows]
    if chance(draw, 0.3):
        lines.insert(int(draw.integers(6)), pick(draw, [";; comment", "", ";;", "\t", "tale 1 0.5"]))
        changed = True
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    if chance(draw, 0.4):
        data, changed = damaged(data, draw), True
    (folder / "tale.ctm").write_bytes(data)
    return folder / "tale.ctm", None if changed else count, None if changed else words


TARGETS = {
    "words-csv": Target(write=_write_csv, read=check, named="tale."),
    "words-json": Target(write=_write_json, read=check, named="tale."),
    "words-ctm": Target(write=_write_ctm, read=check, named="tale."),
}
