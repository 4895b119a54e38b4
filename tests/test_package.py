"""What is installed: the wheel's content, its version, the entry points, the pinned versions."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points, packages_distributions
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import encoderlab
from encoderlab.config.load import load

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"])
    return zipfile.ZipFile(path)


def test_wheel_holds_the_whole_package(wheel: zipfile.ZipFile) -> None:
    source = ROOT / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / "encoderlab").rglob("*")
        if path.suffix in (".py", ".j2", ".css", ".js") or path.name == "py.typed"
    }
    assert "encoderlab/py.typed" in wanted
    assert wanted == {name for name in wheel.namelist() if name.startswith("encoderlab/")}


def test_wheel_says_version_and_licence(wheel: zipfile.ZipFile) -> None:
    info = f"encoderlab-{encoderlab.__version__}.dist-info/"
    metadata = wheel.read(info + "METADATA").decode()
    assert f"\nVersion: {encoderlab.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert wheel.read(info + "licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_python_m_and_the_command_are_the_same() -> None:
    (command,) = entry_points(group="console_scripts", name="encoderlab")
    assert command.value == "encoderlab.cli.app:main"
    done = subprocess.run([sys.executable, "-m", "encoderlab", "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "compare" in done.stdout


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def asked(*without: str) -> set[str]:
    """Names of the packages that the dependencies and the extras ask for."""
    extras = (lines for extra, lines in PROJECT["optional-dependencies"].items() if extra not in without)
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    return {normal(re.split(r"[\[><=~! ]", line)[0]) for line in lines}


def test_every_requirement_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in pins.values())
    assert asked() <= {normal(name) for name in pins}


def test_every_import_is_declared() -> None:
    """Nothing is used that happens to be there because another package brought it."""
    used = set()
    for path in (ROOT / "src" / "encoderlab").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                used |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                used.add((node.module or "").partition(".")[0])
    used -= set(sys.stdlib_module_names) | {"encoderlab"}
    assert "torch" in used
    providers = packages_distributions()
    missing = {name for name in used if not {normal(d) for d in providers.get(name, [name])} & asked("dev")}
    assert not missing, f"imported, but not in pyproject.toml: {sorted(missing)}"


def test_the_readmes_study_is_valid(tmp_path: Path) -> None:
    blocks = re.findall(
        r"^```toml\n(.+?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    (study,) = (block for block in blocks if block.startswith("model"))
    assert len(study.splitlines()) == 8
    path = tmp_path / "study.toml"
    path.write_text(study, encoding="utf-8")
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("text,label\n", encoding="utf-8")
    assert [variant.label for variant in load(path).variants][:2] == ["full", "lora"]
    assert load(path).out == tmp_path / "results" / "study"


def test_the_changelog_knows_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text or f"## [{encoderlab.__version__}]" in text
