"""What is no TOML is one line that says what was most likely meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoderlab.config.toml_file import parse
from encoderlab.core.errors import InputError

WRITTEN = {
    "a key twice": ('[data]\ntrain = "a"\ntrain = "b"\n', "train occurs twice"),
    "a section twice": ("[train]\nepochs = 1\n[data]\n[train]\n", r"\[train\] occurs twice"),
    "a key and a section": ('[data]\ntrain = "a"\n[data.train]\nrows = 3\n', r"\[data.train\] occurs twice"),
    "a path of Windows": ('train = "C:\\Users\\new.csv"\n', "a backslash in double quotes is an escape"),
    "another one": ('train = { path = "D:\\data\\x.csv" }\n', "a backslash in double quotes is an escape"),
    "the same without quotes": ("model = C:\\bert\n", r"in quotes: model = 'C:\\bert'"),
    "curly quotes": ("train = “a.csv”\n", "curly quotes"),
    "no quotes": ("[data]\ntrain = train.csv\n", 'in quotes: train = "train.csv"'),
    "YAML": ("model: bert\n", "write a key as key = value"),
    "lines of another system": ("a = 1\rb = 2\r", "carriage return alone"),
    "a table over two lines": ('train = { path = "a",\n rows = 3 }\n', r"a section of its own: \[train\]"),
    "a quote is missing": ('model = "bert\n[data]\n', "a quote is missing"),
    "a list": ("seeds = 0, 1\n", r"in brackets: seeds = \[0, 1\]"),
    "nothing known": ("x = [1, 2\ny = 3\n", r"column 1\)$"),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_what_was_meant_is_said(case: str, tmp_path: Path) -> None:
    text, said = WRITTEN[case]
    (tmp_path / "study.toml").write_bytes(text.encode())
    with pytest.raises(InputError, match=said) as error:
        parse(tmp_path / "study.toml")
    (line,) = error.value.lines
    assert "study.toml: not TOML: " in line and "\n" not in line
