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
# Supported methods and encoders

This table shows which method runs on which family of encoders. A family is the `model_type` in
config.json. If a method does not support a family, `encoderlab check` gives the reason before
anything runs.
"""
MEANING = """\
## What "yes" means

Every "yes" is a case of `tests/methods/test_matrix.py`, with one text and with pairs of texts. The test
checks that:

- At step 0 the model is unchanged. Exceptions are `prefix` and `prompt`, whose learned vectors
  start as those of real tokens, `qlora`, whose weights are rounded, and the types of the method
  `peft` that PEFT starts elsewhere.
- The head trains, and the parameters that the method adds or names. Each of them gets a gradient.
  No other parameter changes.
- After saving, and loading in another process, the logits are the same to the bit (fp32, CPU). The
  file contains poolers and heads that the checkpoint lacks.
- If the method merges, the logits after merging are the same to 1e-5.

`tests/tasks/test_token_classification.py` repeats every case with a label for every word. The exception
is `prompt` with `placement = "front"`, because a token-classification head would also label the
virtual tokens.
"""
ADDING = """\
## Adding a family

Add a row of part names to `FAMILIES` in `src/encoderlab/model/families.py`, and the sizes of a tiny model
to `SHAPES` in `tests/conftest.py`. The tests run over both tables. For a family that is not in the
table, encoderlab reports an error with this advice.

`python tests/supported_page.py` writes this page, and a test compares it with the code.
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
        MEANING,
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
