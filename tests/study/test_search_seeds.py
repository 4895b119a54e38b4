"""`[search] seeds`: every candidate is tried with each seed, and judged by its mean."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from encoderlab.config import load
from encoderlab.config.settings import Study
from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json
from encoderlab.results import collect
from encoderlab.results.searches import searches
from encoderlab.results.study_record import Candidate, SearchRecord
from encoderlab.study import check, compare
from encoderlab.study.context import open_context
from encoderlab.study.jobs import planned
from encoderlab.study.learning_rates import Grid, over_seeds
from encoderlab.study.prepare import prepare
from encoderlab.tasks.class_metrics import ACCURACY
from encoderlab.training.run_context import RunContext
from encoderlab.training.run_record import Kind, RunRecord, SplitScores, Status
from fixtures_study import Write, write_study  # noqa: F401  (a fixture)

TWO = '[[method]]\nname = "lora"\nrank = 2\n'
SEEDS = "search.seeds=[0, 5]"


def metrics_of(value: dict[str, Any]) -> tuple[float, float]:
    return value["accuracy"], -value["loss"]


def test_trials_have_several_seeds_and_the_first_is_the_trial_of_a_study_with_one(write_study: Write) -> None:  # noqa: F811
    path = write_study("seeds", TWO)
    out = path.parent / "out"
    compare.compare(path)
    once = {entry["variant"]: entry for entry in read_json(out / "study.json")["search"]}
    before = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/result.json")}
    compare.compare(path, [SEEDS])
    assert before.items() <= {p: p.stat().st_mtime_ns for p in out.glob("runs/*/result.json")}.items()

    kept = read_json(out / "study.json")
    rows: dict[int, set[str]] = {}
    for entry in kept["search"]:
        for candidate in entry["candidates"]:
            trials = candidate["by_seed"]
            results = [read_json(out / "runs" / trial["run"] / "result.json") for trial in trials]
            assert [(r["kind"], r["seed"]) for r in results] == [("trial", 0), ("trial", 5)]
            assert all(set(r["splits"]) == {"validation"} for r in results)
            for key in ("accuracy", "loss"):
                assert candidate[key] == pytest.approx(statistics.fmean(trial[key] for trial in trials))
            for result in results:
                rows.setdefault(result["seed"], set()).add(result["config"]["data"]["train"]["fingerprint"])
            for one in once[entry["variant"]]["candidates"]:
                if one["learning_rate"] == candidate["learning_rate"]:
                    assert one == {key: value for key, value in trials[0].items() if key != "by_seed"}
        ranked = sorted(entry["candidates"], key=metrics_of, reverse=True)
        assert {one["learning_rate"] for one in entry["race"]} == {one["learning_rate"] for one in ranked[:2]}
        winner = max(entry["race"], key=metrics_of)
        assert entry["chosen"] == winner["learning_rate"]
        for one in entry["race"]:
            runs = {trial["run"] for trial in one["by_seed"]}
            assert len(runs) == 2 and (runs <= set(kept["runs"])) == (one is winner)
    # a seed draws its own rows, the same ones for every method and rate
    assert [len(found) for found in rows.values()] == [1, 1] and rows[0] != rows[5]

    table = collect.read_table(out)
    for search, entry in zip(table.searches, kept["search"], strict=True):
        cost = [t["run"] for c in entry["candidates"] for t in c["by_seed"]]
        cost += [t["run"] for c in entry["race"] for t in c["by_seed"] if c["learning_rate"] != entry["chosen"]]
        seconds = [read_json(out / "runs" / run / "result.json")["train_seconds"] for run in cost]
        assert search.seconds == pytest.approx(sum(seconds)) and sum(seconds) > 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Each candidate had 2 trials with different seeds and training rows" in page
    assert "at full length with the first 2 seeds" in page
    assert "one standard deviation over the trials of a rate" in page and "standard error over validation" not in page


def test_several_trials_are_counted(write_study: Write) -> None:  # noqa: F811
    path = write_study("counted", TWO, seeds="[0, 1, 2]")
    one, two, five = (check.check(path, [f"search.seeds={seeds}"]).runs for seeds in ([0], [3, 4], [1, 2, 3, 4, 5]))
    assert [two["trials"], five["trials"]] == [2 * one["trials"], 5 * one["trials"]]
    assert two["runs"] == five["runs"] == one["runs"]

    def work(seeds: Sequence[int]) -> list[int]:
        study, context = opened(path, [f"search.seeds={list(seeds)}"])
        return [work.trained for work in planned(study, context) if work.group == "lora"]

    # three candidates, the race of two, and three runs, of which the winner's are there already
    for seeds, raced in (([0], 1), ([3, 4], 2), ([1, 2, 3, 4, 5], 3)):
        trained = work(seeds)
        trials, race, runs = trained[: 3 * len(seeds)], trained[3 * len(seeds) : -3], trained[-3:]
        assert trials == 3 * trials[: len(seeds)] and min(trials) > 0, "a seed has its own rows"
        assert len(race) == 2 * raced and len(set(race)) == 1 and race[0] > max(trials)
        assert runs == [0] * raced + race[:1] * (3 - raced)


def opened(path: Path, overrides: Sequence[str]) -> tuple[Study, RunContext]:
    study = load.load(path, overrides)
    splits, class_names, _ = prepare(study)
    return study, open_context(study, splits, class_names)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("seeds = [0, 1, 0]", r"search.seeds: expected different numbers, got \[0, 1, 0\]"),
        ("seeds = [0, 1]\ntrials = 4", "search.seeds: 2 seeds, but sampled settings .* give one seed, or remove"),
        ("seeds = []", "search.seeds: expected at least one value"),
        ("seeds = 3", "search.seeds: expected at least one value, as a list of whole numbers from 0 up, got 3"),
    ],
)
def test_seeds_that_cannot_be_tried(write_study: Write, keys: str, line: str) -> None:  # noqa: F811
    with pytest.raises(InputError, match=line):
        load.load(write_study("wrong", TWO, search=keys))


SCORES = {  # by rate: the trials of three seeds, then the runs of the race; None is one that fails
    3.33e-4: ((0.95, 0.95, None), ()),
    1e-3: ((0.90, 0.60, 0.60), ()),  # the best with the first seed, and not over all
    3e-3: ((0.72, 0.72, 0.72), (0.80, 0.70, 0.70)),
    9e-3: ((0.70, 0.71, 0.72), (0.78, 0.77, 0.76)),
}


def test_candidates_are_ranked_by_their_mean(write_study: Write) -> None:  # noqa: F811
    study, context = opened(write_study("ranked", TWO, seeds="[0, 1, 2]"), ["search.seeds=[7, 8, 9]"])
    grid = Grid(study=study, context=context, variant=study.variants[0])
    asked = []
    while grid.open:
        specs = grid.next_jobs(1)
        assert specs and grid.next_jobs(1) == [], "nothing more until all of these are done"
        asked.append([(spec.rate, spec.seed, spec.race) for spec in specs])
        for spec in reversed(specs):  # in any order
            seeds = study.seeds if spec.race else study.search.seeds
            assert spec.rate is not None and spec.seed is not None
            grid.tell(spec, record(spec.rate, spec.seed, SCORES[spec.rate][spec.race][seeds.index(spec.seed)]))
    first, beyond, race = asked
    assert first == [(rate, seed, False) for rate in (3.33e-4, 1e-3, 3e-3) for seed in (7, 8, 9)]
    assert beyond == [(9e-3, seed, False) for seed in (7, 8, 9)]
    assert race == [(rate, seed, True) for rate in (3e-3, 9e-3) for seed in (0, 1, 2)]
    found = grid.record()
    assert (found.chosen, found.edge) == (9e-3, False)
    assert [one.status for one in found.candidates] == ["failed", "done", "done", "done"]
    assert found.candidates[0].metrics["accuracy"] is None
    assert SearchRecord.from_json(found.to_json()) == found

    (search,) = searches([found], ACCURACY, 90, {"0.009 0": 5.0})
    assert search.seconds is None, "not every run is there"
    seconds = {f"{rate:g} {seed}": 10.0 + seed for rate in SCORES for seed in (0, 1, 2, 7, 8, 9)}
    (search,) = searches([found], ACCURACY, 90, seconds)
    assert search.seconds == 4 * (17 + 18 + 19) + (10 + 11 + 12)  # the winner's runs are the study's
    for one, (trials, _) in zip(search.tried, SCORES.values(), strict=True):
        whole = None not in trials
        assert (one.trials, one.standard_error) == (3, None)
        assert one.sd == (pytest.approx(statistics.stdev(map(float, trials))) if whole else None)  # type: ignore[arg-type]
        assert one.score == (pytest.approx(statistics.fmean(map(float, trials))) if whole else None)  # type: ignore[arg-type]


def test_one_trial_is_its_own_mean_and_has_the_standard_error_over_rows() -> None:
    trial = Candidate(learning_rate=1e-3, metrics={"accuracy": 0.7, "loss": 1.0}, run="a", status=Status.DONE)
    assert over_seeds([trial]) is trial and trial.trials == (trial,)
    (search,) = searches(
        [SearchRecord(method="lora", variant="lora", candidates=(trial,), chosen=1e-3)], ACCURACY, 100, {"a": 2.0}
    )
    (one,) = search.tried
    assert (one.sd, one.trials, search.seconds) == (None, 1, 2.0)
    assert one.noise == one.standard_error == pytest.approx((0.7 * 0.3 / 100) ** 0.5)


def record(rate: float, seed: int, score: float | None) -> RunRecord:
    """The record of a trial."""
    splits = {} if score is None else {"validation": SplitScores(rows=9, metrics={"accuracy": score, "loss": 1.0})}
    return RunRecord(
        id=f"{rate:g} {seed}",
        status=Status.FAILED if score is None else Status.DONE,
        kind=Kind.TRIAL,
        method="lora",
        variant="lora",
        seed=seed,
        learning_rate=rate,
        splits=splits,
    )
