"""Ridge over held-out stories against scikit-learn refits, himalaya's RidgeCV and its own other ways."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pytest

from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.ridge.folds import Folds
from encoderlab.brain.ridge.ridge import Ridge
from encoderlab.core.errors import InputError
from fixtures_ridge import ALPHAS, EXACT, LENGTHS, Kept, planted, same


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("features", [12, 400], ids=["T > F", "T < F"])
@pytest.mark.parametrize("scheme", ["flat", "nested"])
def test_the_ways_agree(scheme: Any, features: int, intercept: bool) -> None:
    x, y = planted((60, 1, 90, 44, 2), features, 5, level=1.0)
    y[1][0, 2] = np.nan
    responses = StoryResponses.from_arrays(y)
    results = [
        replace(EXACT, method=method, scheme=scheme, intercept=intercept).score(x, responses)
        for method in ("auto", "identity", "downdate", "dual")
    ]
    for other in results[1:]:
        assert np.array_equal(results[0].alphas, other.alphas, equal_nan=True)
        for name in ("scores", "pooled", "r2", "curve"):
            same(getattr(results[0], name), getattr(other, name), 1e-8)


def test_products_are_in_float64_where_float32_would_lose_digits() -> None:
    x, y = planted((40, 50, 30), 200, 3)
    ridge = Ridge(alphas=(1e-4, 1.0), scheme="flat")
    asked = ridge.score(x, StoryResponses.from_arrays(y))
    assert asked.notes[-1].startswith("products are in float64: at alpha 0.0001")
    exact = replace(ridge, precision="float64", method="dual").score(x, StoryResponses.from_arrays(y))
    same(asked.scores, exact.scores, 1e-5)


@pytest.mark.parametrize("groups", [None, 3])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("folds", [Folds.leave_one_out(7), Folds.k_fold(7, 3, seed=2), Folds.k_fold(7, 2)])
def test_a_nested_alpha_knows_nothing_of_its_story(folds: Folds, shared: bool, groups: int | None) -> None:
    x, y = planted(LENGTHS, 12, 20)
    ridge = Ridge(alphas=ALPHAS, groups=groups, shared_alpha=shared, intercept=shared)
    before = ridge.score(x, StoryResponses.from_arrays(y), folds)
    assert len(np.unique(before.alphas)) > 1
    for number, fold in enumerate(folds.held_out):
        for change in (lambda block: 1e6 - 1e6 * block, np.zeros_like, lambda block: block[::-1] + np.arange(20)):
            altered = [change(block) if s in fold else block for s, block in enumerate(y)]
            after = ridge.score(x, StoryResponses.from_arrays(altered), folds)
            assert (after.alphas[number] == before.alphas[number]).all()


def test_huth_alpha_is_the_square_root_of_the_penalty() -> None:
    x, y = planted((50, 60, 70), 12, 10)
    responses = StoryResponses.from_arrays(y)
    squared = EXACT.score(x, responses)
    huth = replace(EXACT, alphas=tuple(np.sqrt(ALPHAS)), convention="huth").score(x, responses)
    same(huth.alphas**2, squared.alphas, 1e-9)
    same(huth.scores, squared.scores, 1e-12)
    assert "square root" in huth.notes[0] and "square root" not in squared.notes[0]


def test_shared_alpha_is_one_per_fold() -> None:
    x, y = planted((50, 60, 70), 12, 10)
    result = replace(EXACT, shared_alpha=True, memory_gib=2e-4).score(x, StoryResponses.from_arrays(y))
    assert (result.alphas == result.alphas[:, :1]).all()
    single = [replace(EXACT, alphas=(alpha,)).score(x, StoryResponses.from_arrays(y)).scores for alpha in ALPHAS]
    for s in range(3):
        means = [np.delete(scores, s, axis=0).mean() for scores in single]
        assert result.alphas[s, 0] == ALPHAS[int(np.argmax(means))]
        same(result.scores[s], single[int(np.argmax(means))][s], 1e-10)


@pytest.mark.parametrize("scheme", ["flat", "nested"])
def test_batches_of_voxels_give_the_same_numbers(scheme: Any) -> None:
    x, y = planted((50, 60, 1, 70), 12, 57)
    y[1][2, 20:30] = np.nan
    y[0][:, 11] = np.nan
    responses, seen = StoryResponses.from_arrays(y), []
    ridge = replace(EXACT, scheme=scheme)
    whole = ridge.score(x, responses)
    kept = Kept((50, 60, 1, 70), 57)
    parts = replace(ridge, memory_gib=4e-5).score(
        x, responses, held_out=kept, progress=lambda done, of: seen.append((done, of))
    )
    assert len(seen) > 30 and seen[-1][0] == seen[-1][1] and kept.times.max() == 1
    for name in ("scores", "pooled", "r2", "curve", "alphas"):
        same(getattr(whole, name), getattr(parts, name), 1e-12)
    again = ridge.score(x, responses)
    assert np.array_equal(whole.scores, again.scores, equal_nan=True)


def test_responses_from_files(tmp_path: Path) -> None:
    x, y = planted((50, 60, 70), 12, 10)
    paths = [tmp_path / f"story{s}.npy" for s in range(3)]
    for path, block in zip(paths, y, strict=True):
        np.save(path, block)
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for path, block in zip(paths, y, strict=True):
            file[path.stem] = block
    names = [path.stem for path in paths]
    expected = EXACT.score(x, StoryResponses.from_arrays(y))
    for responses in (
        StoryResponses.from_npy(paths),
        StoryResponses.from_hdf5(tmp_path / "all.h5", names),
        StoryResponses.from_matrix(np.concatenate(y), [0, 50, 110, 180], names),
    ):
        assert responses.names == tuple(names) and responses.lengths == (50, 60, 70) and responses.voxels == 10
        assert np.array_equal(responses.read(1, slice(3, 5)), y[1][:, 3:5])
        assert np.array_equal(EXACT.score(x, responses).scores, expected.scores)
    assert StoryResponses.from_arrays([np.ones((3, 2), dtype=int)]).read(0, slice(0, 2)).dtype == np.float64
    problems = [
        (lambda: StoryResponses.from_npy([tmp_path / "none.npy"]), "cannot be read as .npy"),
        (lambda: StoryResponses.from_hdf5(tmp_path / "all.h5", ["story9"]), "no data set 'story9'"),
        (lambda: StoryResponses.from_hdf5(paths[0], ["story0"]), "cannot be read as HDF5"),
        (lambda: StoryResponses.from_matrix(np.ones((9, 2)), [0, 4, 8]), "9 rows"),
        (
            lambda: StoryResponses.from_arrays([np.ones((3, 2)), np.ones((3, 4))]),
            "story 1: responses of 4 voxels, story 0 has 2",
        ),
        (lambda: StoryResponses.from_arrays([np.ones(3)]), "story 0: responses have shape (3,)"),
        (lambda: StoryResponses.from_arrays([np.array([["a"]])]), "expected numbers"),
        (lambda: StoryResponses.from_arrays([]), "no story"),
    ]
    for make, message in problems:
        with pytest.raises(InputError) as caught:
            make()
        assert message in str(caught.value)


def test_units_and_levels_do_not_matter() -> None:
    """Tesla and raw scanner units in float32: the same r as in float64."""
    x, y = planted((50, 60, 70), 12, 10)
    exact = replace(EXACT, intercept=True).score(x, StoryResponses.from_arrays(y))
    for unit, level in ((1e-13, 0.0), (1.0, 5e4)):
        blocks = [block * unit + level for block in y]
        found = replace(EXACT, intercept=True, precision="float32").score(x, StoryResponses.from_arrays(blocks))
        assert (found.alphas == exact.alphas).all()
        same(found.scores, exact.scores, 1e-5)
        same(found.r2, exact.r2, 1e-5)


def test_voxels_that_few_stories_have() -> None:
    x, y = planted((50, 60, 70, 30), 12, 6)
    y[0][:, 0] = y[1][:, 0] = np.nan  # two stories left: flat can, nested cannot
    for block in y:
        block[:, 1] = np.nan
        block[:, 2] = 3.0
    responses = StoryResponses.from_arrays(y)
    flat, nested = EXACT.score(x, responses), replace(EXACT, scheme="nested").score(x, responses)
    assert np.isnan(flat.scores[:, 0]).tolist() == [True, True, False, False]
    assert np.isnan(nested.scores[:, :3]).all() and not np.isnan(nested.scores[:, 3:]).any()
    assert np.isnan(nested.mean[:3]).all() and np.isnan(nested.alphas[:, :2]).all()
    assert flat.missing == ((0, 2), (1, 2), (2, 1), (3, 1)) and flat.constant == 4
    assert any("2 (story, voxel) pairs have no score" in line for line in nested.warnings)
    assert not any("have no score" in line for line in flat.warnings)


def test_a_story_whose_features_do_not_change_scores_zero() -> None:
    x, y = planted((50, 60, 70), 12, 4)
    x[1][:] = x[1][0]
    for intercept in (False, True):
        assert (replace(EXACT, intercept=intercept).score(x, StoryResponses.from_arrays(y)).scores[1] == 0).all()


def test_the_edges_of_the_grid_are_named() -> None:
    x, y = planted((50, 60, 70), 12, 10)
    responses = StoryResponses.from_arrays(y)
    low = replace(EXACT, alphas=(1e7, 1e8)).score(x, responses)
    assert any("are the smallest of the grid, 1e+07" in line for line in low.warnings)
    # scores that are equal up to rounding: the larger alpha
    assert (replace(EXACT, alphas=(1e-13, 1e-12)).score(x, responses).alphas == 1e-12).all()


@pytest.mark.gpu
def test_a_gpu_gives_the_same_numbers() -> None:
    x, y = planted((60, 1, 90, 44), 12, 5)
    y[0][3, 2] = np.nan
    for ridge in (EXACT, replace(EXACT, scheme="nested", standardise=True, intercept=True)):
        cpu, gpu = (ridge.score(x, StoryResponses.from_arrays(y), device=name) for name in ("cpu", "cuda"))
        assert np.array_equal(cpu.alphas, gpu.alphas, equal_nan=True)
        same(cpu.scores, gpu.scores, 1e-9)


def test_folds() -> None:
    assert Folds.leave_one_out(3).held_out == ((0,), (1,), (2,))
    for folds in (Folds.leave_k_out(10, 3, seed=1), Folds.k_fold(10, 4)):
        assert len(folds) == 4 and sorted(s for fold in folds.held_out for s in fold) == list(range(10))
        assert {len(fold) for fold in folds.held_out} == {2, 3}
    assert Folds.k_fold(30, 3, seed=1) == Folds.k_fold(30, 3, seed=1) != Folds.k_fold(30, 3, seed=2)
    for wrong in (lambda: Folds.k_fold(3, 4), lambda: Folds.leave_k_out(3, 3), lambda: Folds.leave_one_out(1)):
        with pytest.raises(InputError):
            wrong()
    for held_out in (((0,), (0, 1)), ((0,), (2,)), ((0, 1), ())):
        with pytest.raises(InputError, match="exactly once"):
            Folds(held_out=held_out)


def test_wrong_input_is_named() -> None:
    x, y = planted((50, 60, 70), 12, 4)
    responses = StoryResponses.from_arrays(y, ["alpha", "beta", "gamma"])
    cut, holes, wide = [x[0], x[1][5:], x[2]], [b.copy() for b in x], [x[0], x[1], x[2][:, :9]]
    holes[2][3, 4:6] = np.inf
    infinite = [b.copy() for b in y]
    infinite[1][3, 2], infinite[1][4, 2] = np.inf, -np.inf
    cases: list[tuple[Any, str]] = [
        (lambda: EXACT.score(cut, responses), "story beta: features of 55 TRs, responses of 60"),
        (lambda: EXACT.score(x[:2], responses), "features of 2 stories, responses to 3, folds of 3"),
        (lambda: EXACT.score(x, responses, Folds.leave_one_out(4)), "folds of 4"),
        (lambda: EXACT.score(holes, responses), "story gamma: 2 of 840 feature values are nan or infinite"),
        (lambda: EXACT.score(wide, responses), "story gamma: 9 features, story alpha has 12"),
        (lambda: EXACT.score([b[:, 0] for b in x], responses), "story alpha: features of shape (50,)"),
        (lambda: replace(EXACT, intercept=True).score([b * 0 + 3 for b in x], responses), "all are constant over"),
        (lambda: EXACT.score(x, StoryResponses.from_arrays(infinite)), "story 1: 1 of 4 voxels are infinite"),
        (lambda: replace(EXACT, scheme="nested").score(x[:2], StoryResponses.from_arrays(y[:2])), "at least 3 stories"),
        (lambda: Ridge().score(x, responses, Folds(held_out=((0, 1), (2,)))), "too few stories"),
        (lambda: EXACT.score(x, responses, device="warp"), "device 'warp'"),
        (lambda: Ridge(alphas=(1.0, 0.0)), "alphas"),
        (lambda: Ridge(alphas=()), "alphas"),
        (lambda: Ridge(groups=2), "groups: 2"),
        (lambda: Ridge(memory_gib=0), "memory_gib"),
        (lambda: Ridge(scheme="cv"), "scheme: expected one of nested, flat, got 'cv'"),  # pyright: ignore[reportArgumentType]
        (lambda: Ridge(method="identity", standardise=True), "standardised in each fold"),
    ]  # fmt: skip
    for make, message in cases:
        with pytest.raises(InputError) as caught:
            make()
        assert message in str(caught.value)
    bad = replace(responses, load=lambda story, voxels: y[story][1:, voxels])
    with pytest.raises(InputError, match="story alpha: voxels 0 to 4 have shape"):
        EXACT.score(x, bad)


@pytest.mark.parametrize("scheme", ["nested", "flat"])
def test_some_folds_alone_are_as_in_the_whole(scheme: Literal["nested", "flat"]) -> None:
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(30, 5)) for _ in range(6)]
    weights = rng.normal(size=(5, 7))
    responses = StoryResponses.from_arrays([x @ weights + rng.normal(size=(30, 7)) for x in features])
    ridge = Ridge(alphas=(1.0, 10.0, 100.0), scheme=scheme, groups=3, precision="float64")
    whole, part = ridge.score(features, responses), ridge.score(features, responses, only=[1, 4])
    np.testing.assert_allclose(part.scores[[1, 4]], whole.scores[[1, 4]], atol=1e-12)
    np.testing.assert_array_equal(part.alphas[[1, 4]], whole.alphas[[1, 4]])
    assert np.isnan(part.scores[[0, 2, 3, 5]]).all() and not any("no score" in line for line in part.warnings)
    with pytest.raises(InputError, match="only"):
        ridge.score(features, responses, only=[6])
