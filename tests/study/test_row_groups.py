"""Groups of test rows through a whole study: the same runs, other intervals, and a file beside study.json."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
from safetensors.numpy import load_file

from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json
from encoderlab.results import row_groups
from encoderlab.results.collect import collect
from encoderlab.results.row_groups import RowGroups
from encoderlab.study import check, compare
from fixtures_study import Write, write_study  # noqa: F401  (a fixture)

TWO = '[[method]]\nname = "full"\n[[method]]\nname = "head"\n'
GROUP = ["data.group=author"]


@pytest.fixture
def study(write_study: Write) -> Path:  # noqa: F811
    path = write_study("grouped", TWO, epochs=1, search="candidates = 1")
    rows = pd.read_csv(path.parent / "test.csv")
    rows["author"] = [f"author {i}" for i in np.random.default_rng(3).integers(0, 8, len(rows))]
    rows.to_csv(path.parent / "test.csv", index=False)
    return path


def summary(out: Path) -> dict[str, dict[str, str]]:
    with (out / "summary.csv").open(encoding="utf-8", newline="") as file:
        return {row["variant"]: row for row in csv.DictReader(file)}


def right(out: Path, variant: str) -> pd.DataFrame:
    """Which rows each seed gets right, with the row's number: from the prediction files alone."""
    found = {}
    for run in (read_json(out / "runs" / name / "result.json") for name in read_json(out / "study.json")["runs"]):
        if run["variant"] == variant and run["kind"] == "run":
            tensors = load_file(out / "runs" / run["id"] / "predictions" / "test.safetensors")
            found[run["seed"]] = pd.Series(tensors["logits"].argmax(1) == tensors["labels"], index=tensors["index"])
    return pd.DataFrame(found).sort_index()


def robust(scores: np.ndarray, authors: np.ndarray) -> float:
    """The cluster-robust variance of a mean by statsmodels, with the factor G / (G - 1)."""
    names, codes = np.unique(authors, return_inverse=True)
    clusters = {"groups": codes, "use_correction": False}
    fit = sm.OLS(scores, np.ones(len(scores))).fit(cov_type="cluster", cov_kwds=clusters)
    return float(fit.cov_params()[0, 0]) * len(names) / (len(names) - 1)


def test_a_group_trains_nothing_and_changes_the_intervals(study: Path) -> None:
    out = study.parent / "out"
    compare.compare(study)
    before, runs = summary(out), sorted(path.name for path in (out / "runs").iterdir())
    times = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/result.json")}
    assert not (out / row_groups.NAME).exists() and "groups" not in before["full"]

    compare.compare(study, GROUP)
    after = summary(out)
    assert sorted(path.name for path in (out / "runs").iterdir()) == runs
    assert {path: path.stat().st_mtime_ns for path in out.glob("runs/*/result.json")} == times
    assert [key for key in after["full"] if key != "groups"] == list(before["full"]) and "groups" in after["full"]
    assert after["full"]["groups"] == "8" and after["full"]["rows"] == "40"
    assert after["full"]["accuracy"] == before["full"]["accuracy"]
    ends = ("accuracy_low", "accuracy_rows_low", "macro_f1_rows_low", "difference_low")
    assert all(after["head"][end] != before["head"][end] for end in ends)
    said = "Intervals and p-values draw whole groups of rows: the 40 test rows are in 8 groups (author)."
    assert said in (out / "report.html").read_text(encoding="utf-8")

    compare.compare(study)  # without the key again
    assert not (out / row_groups.NAME).exists() and summary(out) == before
    assert said not in (out / "report.html").read_text(encoding="utf-8")


def test_the_intervals_are_those_of_the_prediction_files(study: Path) -> None:
    compare.compare(study, GROUP)
    out = study.parent / "out"
    authors = pd.read_csv(study.parent / "test.csv")["author"].to_numpy(dtype=str)
    full, head = right(out, "full"), right(out, "head")
    assert full.index.tolist() == head.index.tolist() == list(range(40))
    scores = [one.to_numpy(dtype=float) for one in (head, full)]
    gaps = scores[0] - scores[1]
    row, m = robust(gaps.mean(axis=1), authors), 42
    both = sum(robust(gaps[:, s], authors) for s in range(2)) / 2 - row  # Var(mean) = (diagonal + off) / 2
    floor = ((gaps.mean(axis=1) ** 2).sum() + 1 - gaps.mean(axis=1).sum() ** 2 / m) / m**2
    effect = row / (gaps.mean(axis=1).var(ddof=1) / 40)
    row = max(row, floor * max(1, effect))
    seed = sum(one.mean(axis=0).var(ddof=1) for one in scores) / 2  # of two variants, the pooled variance is the same
    total = max(row + seed - max(both, 0.0), row, seed)
    sizes = np.unique(authors, return_counts=True)[1].astype(float)
    alike = min(max((effect - 1) / ((sizes**2).sum() / 40 - 1), 0), 1)
    each = sizes * (1 + (sizes - 1) * alike)
    df = (row + seed) ** 2 / (row**2 / (each.sum() ** 2 / (each**2).sum() - 1) + seed**2 / 2)
    half = scipy.stats.t.ppf(0.975, df) * math.sqrt(total)
    found = summary(out)["head"]
    assert float(found["difference"]) == pytest.approx(gaps.mean())
    assert float(found["difference_low"]) == pytest.approx(gaps.mean() - half)
    assert float(found["difference_high"]) == pytest.approx(gaps.mean() + half)


def test_the_folder_alone_is_enough(study: Path, tmp_path: Path) -> None:
    compare.compare(study, GROUP)
    moved = tmp_path / "elsewhere"
    shutil.move(study.parent / "out", moved)
    wanted = summary(moved)
    (moved / "summary.csv").unlink()
    shutil.rmtree(study.parent)
    collect(moved)
    assert summary(moved) == wanted
    (moved / row_groups.NAME).write_bytes(b"x")
    with pytest.raises(
        InputError, match=r"groups\.safetensors: not readable as the groups of test rows .*run the study"
    ):
        collect(moved)


def test_check_names_the_groups_and_a_column_that_is_not_there(study: Path) -> None:
    visible = check.check(study, GROUP).visible
    assert visible is not None and "they are in 8 groups (author)" in visible
    assert "independent" not in (check.check(study).visible or "independent")
    with pytest.raises(InputError) as error:
        check.check(study, ["data.group=writer"])
    (line,) = error.value.lines
    assert line.startswith(f"{study}: data.test: group: ")
    assert line.endswith("no column 'writer'; the columns are 'text', 'label', 'author'")


def test_a_group_that_is_the_label_is_told(study: Path) -> None:
    told = [line for line in check.check(study, ["data.group=label"]).warnings if line.startswith("data.group: ")]
    assert [line.partition(",")[0] for line in told] == ["data.group: 'label' is the label column"]
    assert not any("label column" in line for line in check.check(study, GROUP).warnings)


def test_rows_that_the_file_does_not_name_are_groups_of_their_own(tmp_path: Path) -> None:
    groups = RowGroups(by="author", index=np.array([7, 3, 5]), numbers=np.array([0, 1, 0]))
    row_groups.write(tmp_path, {"test": groups})
    found = row_groups.read(tmp_path)["test"]
    assert found.by == "author" and found.count == 2
    assert found.of(np.array([3, 4, 5, 7, 9])).tolist() == [1, -2, 0, 0, -5]
    row_groups.write(tmp_path, {})
    assert row_groups.read(tmp_path) == {}


def test_windows_of_a_text_are_a_group(tmp_path: Path, tiny_masked_lm: Callable[[str], Path]) -> None:
    draw = np.random.default_rng(5)
    words = "good bad film the a was not very plot acting and".split()
    texts = [{"text": " ".join(draw.choice(words, 150)), "author": f"a{i // 2}"} for i in range(8)]
    for name, rows in (("train", texts[:4]), ("test", texts)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    path = tmp_path / "study.toml"
    path.write_text(
        f"model = {json.dumps(str(tiny_masked_lm('bert')))}\nseeds = [0]\nout = 'out'\n[task]\nkind = 'masked-lm'\n"
        "[data]\ntrain = 'train.jsonl'\nvalidation = { fraction = 0.5 }\ntest = 'test.jsonl'\n"
        "[train]\nepochs = 1\nmax_length = 40\n[search]\ncandidates = 1\n[[method]]\nname = 'lora'\n"
    )
    compare.compare(path)
    out = tmp_path / "out"
    found = row_groups.read(out)["test"]
    assert found.by == "text" and found.count == 8 and len(found.index) > 8
    assert summary(out)["lora"]["groups"] == "8"
    runs = read_json(out / "study.json")["runs"]
    compare.compare(path, GROUP)
    assert read_json(out / "study.json")["runs"] == runs
    assert summary(out)["lora"]["groups"] == "4" and row_groups.read(out)["test"].by == "author"

    (tmp_path / "test.jsonl").write_text(json.dumps(texts[0]))
    (line,) = [line for line in check.check(path).warnings if "of one text" in line]
    assert line.startswith("data.test: its ") and "not for other texts" in line
