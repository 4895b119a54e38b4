"""A set that confirms the recommendation: it scores the recommended variant alone, and no choice depends on it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from encoderlab import report
from encoderlab.cli import tables
from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json
from encoderlab.core.variation import SeedVariance
from encoderlab.report import headline
from encoderlab.results import collect
from encoderlab.results.confirmation import ConfirmationRecord, Use
from encoderlab.study import check, compare, confirm
from encoderlab.tasks.class_metrics import ACCURACY
from encoderlab.training.run_record import SplitScores
from fixtures_study import write_rows

STUDY = """
model = {model}
seeds = [0, 1]
out = "out"
[data]
train = "train.csv"
test = "test.csv"
[train]
epochs = 1
max_length = 16
[search]
candidates = 1
[[method]]
name = "lora"
[[method]]
name = "full"
"""
FAR = '[data.other_tests]\nfar = "far.csv"\n'
CONFIRM = f'{FAR}[report]\nconfirm = "far"\n'


@pytest.fixture
def path(tmp_path: Path, tiny_model: Callable[[str], Path]) -> Path:
    for seed, (name, count) in enumerate({"train": 60, "test": 40, "far": 30}.items()):
        write_rows(tmp_path / f"{name}.csv", count, seed)
    file = tmp_path / "study.toml"
    file.write_text(STUDY.format(model=json.dumps(str(tiny_model("bert")))), encoding="utf-8")
    return file


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """choose(variant, proven=True): what every table recommends from now on, whatever the runs say."""
    recommend = collect.recommend

    def choose(variant: str, proven: bool | None = True) -> None:
        def chosen(*args):
            choice = recommend(*args)
            return None if choice is None else replace(choice, variant=variant, beats_majority=proven)

        monkeypatch.setattr(collect, "recommend", chosen)

    return choose


def times(out: Path, pattern: str) -> dict[str, int]:
    return {str(file.relative_to(out)): file.stat().st_mtime_ns for file in out.glob(pattern)}


def accuracies(out: Path, variant: str) -> list[float]:
    return [
        read_json(out / "runs" / run / "result.json")["splits"]["test"]["accuracy"] for run in runs_of(out, variant)
    ]


def runs_of(out: Path, variant: str) -> list[str]:
    records = (read_json(file) for file in out.glob("runs/*/result.json"))
    return sorted(one["id"] for one in records if one["variant"] == variant and one["kind"] == "run")


def test_a_finished_study_is_confirmed_without_any_training(
    path: Path, choose, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose("lora")
    out = compare.compare(path).parent
    before = times(out, "runs/*/*") | times(out, "runs/*/predictions/*")
    assert read_json(out / "summary.json")["confirmed"] is None and not (out / "confirm").exists()

    path.write_text(path.read_text() + CONFIRM)
    page = compare.compare(path).read_text(encoding="utf-8")
    assert times(out, "runs/*/*") | times(out, "runs/*/predictions/*") == before
    winners = runs_of(out, "lora")
    assert sorted(file.parts[-3] for file in out.glob("confirm/*/predictions/far.safetensors")) == winners
    assert len(winners) == 2

    # The oracle: the same study, which scores every method on that set.
    path.write_text(path.read_text().replace(CONFIRM, FAR))
    other = compare.compare(path, [f"out={out.parent / 'plain'}"]).parent
    right = []
    for run in winners:
        seed = read_json(out / "runs" / run / "result.json")["seed"]
        (twin,) = [
            one for one in runs_of(other, "lora") if read_json(other / "runs" / one / "config.json")["seed"] == seed
        ]
        mine = load_file(out / "confirm" / run / "predictions" / "far.safetensors")
        theirs = load_file(other / "runs" / twin / "predictions" / "far.safetensors")
        for key, value in theirs.items():
            assert np.array_equal(mine[key], value), key
        order = np.argsort(theirs["index"])
        right.append((theirs["logits"].argmax(1) == theirs["labels"])[order, None])
    confirmed = read_json(out / "summary.json")["confirmed"]
    pooled = SeedVariance(
        pooled=float(np.mean([np.var(accuracies(out, name), ddof=1) for name in ("lora", "full")])), df=2
    )
    expected = ACCURACY.estimate(np.array(right), seeds=pooled)
    assert confirmed["value"] == pytest.approx(np.mean(right)) and expected.value == pytest.approx(np.mean(right))
    assert (confirmed["low"], confirmed["high"]) == pytest.approx((expected.low, expected.high))
    assert {key: confirmed[key] for key in ("set", "variant", "seeds", "rows", "winners")} == {
        **{"set": "far", "variant": "lora", "seeds": 2, "rows": 30, "winners": ["lora"]},
    }  # fmt: skip

    ends = f"{100 * confirmed['low']:.1f} to {100 * confirmed['high']:.1f}"
    scores = f"lora scores {100 * confirmed['value']:.1f} % ({ends}; 95 % interval over other seeds and other rows)."
    sentence = f"On far, which chose nothing, {scores}"
    assert sentence in page
    with (out / "summary.csv").open(encoding="utf-8") as file:
        assert "far_accuracy" not in next(csv.reader(file)), "the others have no score there"
    capsys.readouterr()
    tables.summary(collect.read_table(out))
    told = capsys.readouterr().out.splitlines()
    line = f"confirmed on far: lora {100 * confirmed['value']:.1f} % ({ends.replace(' to ', '-')}; 30 rows, 2 seeds)"
    assert told[-1] == line and "far" not in told[0]
    assert report.write(collect.collect(out)).read_text(encoding="utf-8") == page, "the folder alone says the same"

    # With two seeds, the variance over seeds and its degrees of freedom are those of the study.
    study = SeedVariance(pooled=0.001, df=6)
    monkeypatch.setattr(collect, "pooled_seed_variance", lambda *_: study)
    found, expected = collect.read_table(out).confirmed, ACCURACY.estimate(np.array(right), seeds=study)
    assert found is not None and (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert expected.high - expected.low != pytest.approx(confirmed["high"] - confirmed["low"])


def test_a_killed_command_goes_on(path: Path, choose, monkeypatch: pytest.MonkeyPatch) -> None:
    choose("lora")
    path.write_text(path.read_text() + CONFIRM)
    load, loaded = confirm.load_run, []

    def killed(folder: Path, **others):
        if loaded:
            raise KeyboardInterrupt
        loaded.append(folder.name)
        return load(folder, **others)

    monkeypatch.setattr(confirm, "load_run", killed)
    with pytest.raises(KeyboardInterrupt):
        compare.compare(path)
    out = path.parent / "out"
    assert not (out / "report.html").exists()
    table = collect.collect(out)
    assert table.confirmed and table.confirmed.value is None and table.confirmed.winners == ("lora",)
    assert "lora is not scored on far yet" in " ".join(headline.sentences(table))
    first = times(out, "confirm/*/predictions/*")
    monkeypatch.setattr(confirm, "load_run", load)
    compare.compare(path)
    assert first.items() < times(out, "confirm/*/predictions/*").items()
    (use,) = ConfirmationRecord.read(out).uses
    assert sorted(use.scores) == runs_of(out, "lora")

    after = times(out, "confirm/*/predictions/*")
    compare.compare(path)
    assert times(out, "confirm/*/predictions/*") == after
    (damaged,) = out.glob(f"confirm/{loaded[0]}/predictions/*")
    damaged.write_bytes(damaged.read_bytes()[:-3])
    compare.compare(path)
    table = collect.collect(out)
    assert table.confirmed and table.confirmed.seeds == 2 and len(ConfirmationRecord.read(out).uses) == 1


def test_more_winners_are_counted(path: Path, choose) -> None:
    path.write_text(path.read_text() + CONFIRM)
    choose("lora")
    out = compare.compare(path).parent
    choose("lora")
    compare.compare(path, ["seeds=[0, 1, 2]"])
    table = collect.collect(out)
    assert table.confirmed and table.confirmed.winners == ("lora",), "more seeds of the same variant"
    choose("full")
    compare.compare(path, ["seeds=[0, 1, 2]"])
    table = collect.collect(out)
    assert table.confirmed and table.confirmed.variant == "full" and table.confirmed.seeds == 3
    assert table.confirmed.winners == ("lora", "full")
    told = " ".join(headline.sentences(table))
    assert "On far, full scores " in told and "chose nothing" not in told
    assert "far has scored 2 recommended variants by now (lora, full)" in told
    compare.compare(path, ["train.epochs=2"])
    table = collect.collect(out)
    assert table.confirmed and table.confirmed.winners == ("lora", "full", "full"), "trained with other settings"


def test_without_a_recommendation_the_set_stays_fresh(path: Path, choose) -> None:
    path.write_text(path.read_text() + CONFIRM)
    choose("lora", proven=False)
    out = compare.compare(path).parent
    assert not (out / "confirm" / "record.json").exists()
    table = collect.collect(out)
    assert table.confirmed and table.confirmed.variant is None
    assert "far confirms no method, because none is recommended." in headline.sentences(table)


def test_a_set_that_is_not_fresh_is_refused(path: Path) -> None:
    plain = path.read_text()
    path.write_text(plain + FAR)
    compare.compare(path)
    path.write_text(plain + CONFIRM)
    for command in (compare.compare, check.check):
        with pytest.raises(InputError, match=r"report.confirm: 'far' is no fresh set: runs in .*\(.*lora") as refused:
            command(path)
        assert len(refused.value.lines) == 1
    tests = (path.parent / "test.csv").read_text().splitlines()[1:]
    said = "also occurs in test, on which the method that it confirms is chosen"
    for rows, shared in ((["a new text,pos", "another one,neg"], 0), (["a new text,pos", tests[0], tests[1]], 2)):
        (path.parent / "far.csv").write_text("\n".join(["text,label", *rows]) + "\n")
        found = [line for line in check.check(path, ["out=elsewhere"]).warnings if said in line]
        assert [f"the text of {shared} of 3 rows" in line for line in found] == [True] * (shared > 0)
    (path.parent / "far.csv").write_text((path.parent / "test.csv").read_text())
    with pytest.raises(InputError, match="report.confirm: 'far' has the texts of data.test; name a set of other rows"):
        check.check(path, ["out=elsewhere"])


def test_a_use_goes_on_while_it_shares_a_run() -> None:
    def use(variant: str, *runs: str, rows: str = "abc") -> Use:
        return Use(name="far", fingerprint=rows, variant=variant, scores={run: SplitScores(rows=3) for run in runs})

    record = ConfirmationRecord().add(use("lora", "a"), ["a", "b"]).add(use("lora", "b"), ["a", "b"])
    assert [sorted(one.scores) for one in record.uses] == [["a", "b"]]
    record = record.add(use("lora rank=8", "c"), ["b", "c"])
    assert [(one.variant, sorted(one.scores)) for one in record.uses] == [("lora rank=8", ["a", "b", "c"])]
    record = record.add(use("lora", "d"), ["d"]).add(use("lora", "d", rows="other"), ["d"])
    assert len(record.of("abc")) == 2 and len(record.of("other")) == 1
