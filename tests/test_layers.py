"""The import graph against the layer list of docs/design.md: same row or a row above, never below, and no cycle.

Every import counts: those inside a function or under TYPE_CHECKING name a dependency too.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "encoderlab"
UNITS = sorted({path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")})
OUTSIDE = {"__init__", "__main__"}  # the version, and the way into `cli`


def layers() -> dict[str, int]:
    """{module or subpackage: row} of the table; a row may name more of them in its last cell: `name`: or `a`, `b`:"""
    rows = {}
    table = (ROOT / "docs" / "design.md").read_text(encoding="utf-8").split("## Layers")[1].split("\n## ")[0]
    for number, module, about in re.findall(r"^\| (\d+) \| (.+?) \| (.+) \|$", table, re.MULTILINE):
        more = [names for names in re.findall(r"((?:`\w+/?`,? ?)+):", about)]
        for name in re.findall(r"`(\w+)/?`", " ".join([module, *more])):
            rows[name] = int(number)
    return rows


def imported(tree: ast.AST, package: tuple[str, ...]) -> set[str]:
    """The modules and subpackages of encoderlab that a file in `package` imports."""
    dotted: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            dotted += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            module = base + (node.module or "")
            dotted += [f"{module.rstrip('.')}.{alias.name}" for alias in node.names]
    inside = (name.split(".") for name in dotted)
    return {parts[1] for parts in inside if parts[0] == "encoderlab" and len(parts) > 1 and parts[1] in UNITS}


def dependencies(unit: str) -> set[str]:
    folder = PACKAGE / unit
    found = set()
    for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{unit}.py"]:
        package = ("encoderlab", *path.relative_to(PACKAGE).parts[:-1])
        found |= imported(ast.parse(path.read_text(encoding="utf-8")), package)
    return found - {unit}


def test_the_reader_sees_every_way_to_import() -> None:
    source = """
import encoderlab.errors
from encoderlab import data as d, __version__
from encoderlab.stats import holm
from ..backbone import load
from .. import runs
from . import neighbour
def lazily():
    from encoderlab.demo import run
"""
    seen = imported(ast.parse(source), ("encoderlab", "methods"))
    assert seen & {"errors", "stats", "demo", "methods"} == {"errors", "stats", "demo", "methods"} & set(UNITS)
    assert {"data", "backbone", "runs"} & set(UNITS) <= seen


def test_the_layer_list_is_read() -> None:
    rows = layers()
    assert rows["errors"] == 1 and rows["data"] == rows["stats"] and rows["tasks"] == rows["backbone"]
    assert (
        rows["errors"] < rows["data"] < rows["backbone"] < rows["methods"] < rows["study"] < rows["demo"] < rows["cli"]
    )


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit not in OUTSIDE])
def test_imports_point_up(unit: str) -> None:
    rows = layers()
    assert unit in rows, f"{unit} has no row in docs/design.md, section Layers"
    below = {other for other in dependencies(unit) if other not in OUTSIDE and rows.get(other, 0) > rows[unit]}
    assert not below, f"{unit} (row {rows[unit]}) imports from below: {sorted(below)}"


def test_no_cycle_between_modules() -> None:
    TopologicalSorter({unit: dependencies(unit) - OUTSIDE for unit in UNITS}).prepare()


@pytest.mark.parametrize("unit", ["cli", "data", "demo", "errors", "report", "results", "stats"])
def test_torch_stays_out_at_import(unit: str) -> None:
    """`--help` and everything that only reads tables start fast."""
    code = f"import sys, encoderlab.{unit}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or f"importing encoderlab.{unit} imports torch"
