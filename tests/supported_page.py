"""Writes docs/supported.md from the table of families, the methods' own `problems` and the cases of the tests:

python tests/supported_page.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from conftest import build_tiny_model
from encoderlab.core.types import only
from encoderlab.methods.base import Method
from encoderlab.methods.registry import METHODS
from encoderlab.model import load as model_load
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES
from fixtures_methods import CASES, CLASSES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "supported.md"
HEAD = "AutoModelForSequenceClassification"
INTRODUCTION = """\
# What works on what

Every "yes" is a cell of `tests/methods/test_matrix.py`, which holds it, on one text and on pairs, to this:

- Step 0 is the unchanged model, for every method that promises it: all but prefix and prompt, whose learned vectors
  start as real ones, qlora, whose weights are rounded, and those types of the bridge that PEFT starts elsewhere.
- Only what the method adds or names trains, and the head; every one of these gets a gradient, and nothing else moves.
- Saved and loaded in another process, the logits are the same to the bit (fp32, CPU). Poolers and heads that the
  checkpoint lacks are in the file.
- Merged, where a method merges, the logits are the same to 1e-5.

`tests/tasks/test_token_classification.py` runs every cell with a label for every word, too: all but `prompt` with
`placement = "front"`, whose virtual tokens such a head would answer.

A family is what config.json calls `model_type`. Where a method cannot serve one, `encoderlab check` says why before
anything runs.
"""
ADDING = """\
To add a family, add its row of part names to `FAMILIES` in `src/encoderlab/model/families.py` and its sizes to
`SHAPES` in `tests/conftest.py`; the tests run over both tables. A family that is not in the table is refused with this
advice.

This page is written by `python tests/supported_page.py`; a test holds it to the code.
"""


def label(method: Method) -> str:
    placement = getattr(method, "placement", None)
    return f"`{method.name}`" + (f", {placement}" if placement else "")


def page(load: Callable[[str], EncoderModel]) -> str:
    """The page. `load(family)`: a model of that family with a classification head."""
    models = {family: load(family) for family in FAMILIES}
    reasons: list[str] = []
    order = [only(method, "name") for method in METHODS]
    rows: dict[str, list[str]] = {label(m): [] for m in sorted(CASES, key=lambda case: order.index(case.name))}
    for row, cells in rows.items():
        for family, model in models.items():
            found = {line for method in CASES if label(method) == row for line in method.problems(model)}
            found = {line.replace(model.name, family) for line in found if "not installed" not in line}
            reasons += sorted(f"{row} on {family}: {line}." for line in found)
            cells.append("yes" if not found else f"no ({len(reasons)})")
    lines = [
        INTRODUCTION,
        f"| method | {' | '.join(models)} |",
        f"| --- |{' --- |' * len(models)}",
        *(f"| {row} | {' | '.join(cells)} |" for row, cells in rows.items()),
        "",
        *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1)),
        "",
        "## Families",
        "",
        "| family | what is special |",
        "| --- | --- |",
        *(f"| {family} | {row.note} |" for family, row in FAMILIES.items()),
        "",
        ADDING,
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(
            page(
                lambda family: model_load.load(
                    str(build_tiny_model(family, Path(folder) / family)), head=HEAD, class_names=CLASSES, seed=0
                )
            ),
            encoding="utf-8",
        )
