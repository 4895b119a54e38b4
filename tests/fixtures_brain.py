"""A made-up experiment: words in TextGrid or TSV files, and responses that follow them by a known lag."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from encoderlab.brain.encoding.encode import encode
from encoderlab.brain.fmri.align import delay, downsample, trim, zscore

WORDS = "then town saw so day we went home and rain fell on".split()
VOXELS = 8
STUDY = """
[stories]
path = "stories"
{stories}
[responses]
S = "S"
[[features]]
kind = "bag-of-words"
size = 12
[encode]
permutations = 0
alphas = [1, 10, 100, 1000]
{encode}
"""


@dataclass
class Lab:
    """The files of one experiment. rows: {story: (TRs, voxels)} as they belong to the words. lengths: seconds."""

    folder: Path
    lengths: dict[str, float]
    tr: float
    before: dict[str, float]
    cut: tuple[int, int]
    rows: dict[str, np.ndarray] = field(default_factory=dict)

    def study(self, stories: str = "", encode: str = "", responses: str = "S") -> Path:
        path = self.folder / "study.toml"
        path.write_text(STUDY.format(stories=stories, encode=encode).replace('S = "S"', f'S = "{responses}"'))
        return path

    def save(self, rows: dict[str, np.ndarray] | None = None, name: str = "S") -> None:
        """One .npy a story."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for story, array in (self.rows if rows is None else rows).items():
            np.save(folder / f"{story}.npy", array)

    def score(self, stories: str = "", settings: str = "", responses: str = "S") -> dict[str, float]:
        """The numbers of the only row of the table that `encode` writes."""
        out = encode(self.study(stories, settings, responses)).parent
        with (out / "encoding.csv").open(encoding="utf-8") as file:
            (row,) = csv.DictReader(file)
        return {key: float(row[key]) for key in ("mean", "pooled", "r2")}


def make(
    folder: Path,
    *,
    tr: float = 2.0,
    before: float | list[float] = 10.0,
    after: float = 10.0,
    cut: tuple[int, int] = (10, 5),
    lengths: tuple[float, ...] = (180, 222, 198, 250, 212),
    kind: str = "TextGrid",
    seed: int = 0,
) -> Lab:
    """Stories s1, s2, ... of these lengths, and scans that begin `before` and end `after` them, trimmed by `cut`."""
    rng = np.random.default_rng(seed)
    (folder / "stories").mkdir()
    starts = before if isinstance(before, list) else [before] * len(lengths)
    names = [f"s{number}" for number in range(1, len(lengths) + 1)]
    lab = Lab(folder, dict(zip(names, lengths, strict=True)), tr, dict(zip(names, starts, strict=True)), cut)
    weights = rng.normal(size=(len(WORDS), VOXELS))
    for name, length, start in zip(names, lengths, starts, strict=True):
        edges = np.concatenate([[0.0], np.sort(rng.uniform(0.5, length - 0.5, int(2.2 * length))), [length]]).round(3)
        spoken = rng.choice(len(WORDS), len(edges) - 1)
        _write(folder / "stories" / f"{name}.{kind}", edges, [WORDS[i] for i in spoken])
        trs = tr * (np.arange(int(np.ceil((start + length + after) / tr))) + 0.5) - start
        vectors = np.eye(len(WORDS))[spoken]
        followed = delay(downsample(vectors, (edges[:-1] + edges[1:]) / 2, trs), [round(5 / tr)]) @ weights
        noisy = zscore(followed) + 1.2 * rng.normal(size=followed.shape)
        lab.rows[name] = zscore(trim(noisy, *cut))
    lab.save()
    return lab


def _write(path: Path, edges: np.ndarray, words: list[str]) -> None:
    if path.suffix == ".tsv":
        lines = [f"{a:.3f}\t{b - a:.3f}\t{word}" for a, b, word in zip(edges, edges[1:], words, strict=False)]
        path.write_text("onset\tduration\tword\n" + "\n".join(lines) + "\n")
        return
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    end = float(edges[-1])
    body = "".join(f'{a:.3f}\n{b:.3f}\n"{word}"\n' for a, b, word in zip(edges, edges[1:], words, strict=False))
    path.write_text(f'{head}0\n{end}\n<exists>\n1\n"IntervalTier"\n"words"\n0\n{end}\n{len(words)}\n{body}')
