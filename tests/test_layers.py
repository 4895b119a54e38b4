"""The ten lines of the layout (docs/design.md, "Layers"), held by the import graph.

Every import counts: those inside a function or under TYPE_CHECKING name a dependency too.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "encoderlab"

# {wing: the wings it may import}. A wing may always import itself.
MODELS = "core data model tasks methods adapters engine"
RUNS = f"{MODELS} training"
WINGS = {
    "core": "",
    "data": "core",
    "model": "core",
    "launch": "core",
    "tasks": "core data model",
    "methods": "core model",
    "adapters": "core data model tasks methods",
    "engine": "core data model tasks methods adapters",
    "training": MODELS,
    "config": f"{RUNS} launch",
    "results": RUNS,
    "inference": RUNS,
    "report": "core tasks results",
    "study": f"{RUNS} launch config results inference report",
    "brain.stories": "core",
    "brain.vectors": f"{MODELS} brain.stories",
    "brain.fmri": "core brain.stories",
    "brain.ridge": "core brain.stories brain.fmri",
    "brain.encoding": f"{RUNS} launch config results report study brain.stories brain.vectors brain.fmri brain.ridge",
}
TOP = {"cli", "api", "backbone", "__main__", "__init__"}  # they may import everything
LOOSE = {"__init__", "__main__", "api"}
LONGEST = 350


def modules() -> dict[str, Path]:
    """{dotted name below encoderlab: file} of every module; a package goes by its own name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def wing(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "brain" and len(parts) > 1 else parts[0]


def imported(tree: ast.AST, package: tuple[str, ...]) -> set[str]:
    """The modules of encoderlab that a file in `package` imports."""
    dotted: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            dotted += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            module = (base + (node.module or "")).rstrip(".")
            dotted += [f"{module}.{alias.name}" for alias in node.names]
    found = set()
    for name in dotted:
        parts = name.split(".")
        if parts[0] != "encoderlab":
            continue
        inside = parts[1:]
        while inside and ".".join(inside) not in MODULES:  # the last part may be a name in the module
            inside = inside[:-1]
        if inside:
            found.add(".".join(inside))
    return found


def dependencies(module: str) -> set[str]:
    path = MODULES[module]
    package = ("encoderlab", *path.relative_to(PACKAGE).parts[:-1])
    return imported(ast.parse(path.read_text(encoding="utf-8")), package) - {module}


GRAPH = {module: dependencies(module) for module in MODULES if module != "__init__"}


def test_the_reader_sees_every_way_to_import() -> None:
    source = """
import encoderlab.core.errors
from encoderlab import data as d, __version__
from encoderlab.core.statistics import holm
from ..model.load import load
from .. import tasks
from . import registry
def lazily():
    from encoderlab.study.demo import run
"""
    seen = imported(ast.parse(source), ("encoderlab", "methods"))
    expected = {"core.errors", "data", "core.statistics", "model.load", "tasks", "methods.registry", "study.demo"}
    assert seen == expected


@pytest.mark.parametrize("name", sorted(WINGS))
def test_a_wing_imports_only_what_its_line_allows(name: str) -> None:
    allowed = {name, *WINGS[name].split()}
    inside = [module for module in GRAPH if wing(module) == name]
    assert inside, f"there is no wing {name}"
    wrong = [f"{m} imports {other}" for m in inside for other in sorted(GRAPH[m]) if wing(other) not in allowed]
    assert not wrong, f"{name} may import {sorted(allowed)}:\n" + "\n".join(wrong)


def test_every_module_lies_in_a_wing() -> None:
    placed = set(WINGS) | TOP | {"brain"}
    assert {module for module in MODULES if wing(module) not in placed} == set()
    assert {path.stem for path in PACKAGE.glob("*.py")} <= LOOSE


def test_no_cycle_between_modules() -> None:
    TopologicalSorter(GRAPH).prepare()


def test_no_file_is_long() -> None:
    files = [*MODULES.values(), *(ROOT / "tests").rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


def test_the_page_of_the_layout_names_every_wing() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8").split("## Layers")[1].split("\n## ")[0]
    assert [name for name in (*WINGS, "cli") if f"`{name.replace('.', '/')}`" not in page] == []


LIGHT = ["cli.app", "study.demo", "core.errors", "core.statistics", "report.study_page", "results.collect"]
PACKAGES = [name for name, path in MODULES.items() if path.name == "__init__.py"]


@pytest.mark.parametrize("names", [LIGHT, PACKAGES], ids=["light modules", "packages"])
def test_torch_stays_out_at_import(names: list[str]) -> None:
    """`--help` and everything that only reads tables start fast."""
    lines = [f"import encoderlab.{name}" if name != "__init__" else "import encoderlab" for name in names]
    code = "import sys\n" + "\n".join(f"{line}\nassert 'torch' not in sys.modules, {line!r}" for line in lines)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", WINGS)
def test_a_wing_lists_its_public_names_and_has_them(name: str) -> None:
    package = f"encoderlab.{name}"
    listed = re.findall(r"`([\w.]+)`", (import_module(package).__doc__ or "").partition("Public: ")[2])
    assert listed, f"{package}: its docstring has no line `Public: ...`"
    for one in listed:
        module, _, attribute = one.rpartition(".")
        assert hasattr(import_module(f"{package}.{module}" if module else package), attribute), one
