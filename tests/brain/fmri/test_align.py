"""Words to TRs: the reference's golden values, slow loops, and what happens at the borders of stories."""

from __future__ import annotations

import numpy as np
import pytest

from encoderlab.brain.fmri import align
from encoderlab.brain.fmri.design import Design
from encoderlab.core.errors import InputError

# Made by the laboratory's own function.
OLD = np.array([0.006, 0.3, 0.73, 1.165, 1.73, 2.4, 3.1, 5, 5, 7.9])
NEW = np.arange(-9.0, 12, 2)
GOLDEN = np.array(
    [
        [0, 0, 0.040093843549, -0.210462284378, 0.857732657709, 4.431880775513, 1.994306855852, 1.714431826565,
         0.708709653759, 0.540822210205, -0.124790764795],
        [0, 0, 0.018115406301, 0.053548671835, -0.462183810909, 10.240169807553, 12.035829674095, 12.876175838859,
         6.208242851159, 4.866542002375, -1.123116883156],
    ]
).T  # fmt: skip
DATA = np.column_stack([np.ones(10), np.arange(10)])


def test_lanczos_golden_values() -> None:
    np.testing.assert_allclose(align.downsample(DATA, OLD, NEW), GOLDEN, atol=1e-10)


def test_lanczos_of_a_steady_stream() -> None:
    words = np.arange(0, 200, 0.8)  # 2.5 words a TR
    row = align.downsample(np.ones((len(words), 1)), words, np.arange(1.0, 200, 2))[50]
    assert row[0] == pytest.approx(2.4926338946, abs=1e-9)


@pytest.mark.parametrize("window", [1, 3, 5])
def test_lanczos_against_a_slow_loop(window: int) -> None:
    rng = np.random.default_rng(0)
    words, trs = rng.uniform(-5, 60, 200), np.arange(-9, 60, 1.5)
    x = rng.normal(size=(200, 3))
    slow = np.zeros((len(trs), 3))
    for i, s in enumerate(trs):
        for w, t in enumerate(words):
            u = (s - t) / 1.5
            if abs(u) <= window:
                slow[i] += x[w] * (
                    1 if u == 0 else window * np.sin(np.pi * u) * np.sin(np.pi * u / window) / (np.pi * u) ** 2
                )
    np.testing.assert_allclose(align.downsample(x, words, trs, window=window), slow, atol=1e-10)
    assert align.lanczos_weights(words, trs, window=window).nnz < 2 * (window + 1) * 1.5 * 4 * len(trs)


def test_a_word_exactly_at_a_tr() -> None:
    assert align.downsample(np.ones((1, 1)), [3.0], NEW)[:, 0].tolist() == pytest.approx(
        (NEW == 3).astype(float).tolist()
    )


@pytest.mark.parametrize("how", ["sum", "average", "last"])
def test_per_tr_against_a_slow_loop(how: align.Downsample) -> None:
    rng = np.random.default_rng(1)
    words, trs = np.concatenate([rng.uniform(-14, 14, 60), [3.0, 3.0, 4.0, 2.0]]), np.arange(-9.0, 12, 2)
    x = rng.normal(size=(64, 2))
    for i, s in enumerate(trs):
        mine = [w for w in range(64) if s - 1 <= words[w] < s + 1]
        latest = max(mine, key=lambda w: (words[w], w), default=None)
        slow = {
            "sum": sum((x[w] for w in mine), np.zeros(2)),
            "average": np.mean([x[w] for w in mine], axis=0) if mine else np.zeros(2),
            "last": np.zeros(2) if latest is None else x[latest],
        }[how]
        np.testing.assert_allclose(align.downsample(x, words, trs, how)[i], slow, atol=1e-12)


def test_no_words_are_zero_rows() -> None:
    for how in ("lanczos", "sum", "average", "last"):
        assert align.downsample(np.zeros((0, 4)), [], NEW, how).tolist() == np.zeros((11, 4)).tolist()  # type: ignore[arg-type]


def test_zscore_keeps_constant_columns_at_zero() -> None:
    rows = np.column_stack([np.full(7, 0.1), np.arange(7.0), np.full(7, 1e9)])
    scaled = align.zscore(rows)
    assert not scaled[:, [0, 2]].any() and scaled[:, 1].std() == pytest.approx(1) and abs(scaled[:, 1].mean()) < 1e-12


def test_delays_are_the_reference_layout() -> None:
    rows = np.arange(1.0, 7).reshape(3, 2)
    made = align.delay(rows, (1, 0, -1, 4))
    assert made.shape == (3, 8)
    assert made[:, 0:2].tolist() == [[0, 0], [1, 2], [3, 4]] and made[:, 2:4].tolist() == rows.tolist()
    assert made[:, 4:6].tolist() == [[3, 4], [5, 6], [0, 0]] and not made[:, 6:].any()


def test_delays_at_the_borders_of_stories() -> None:
    first, second = np.array([[1.0], [2.0]]), np.array([[3.0], [4.0], [5.0]])
    within = Design(delays=(1, 2)).delayed([first, second])
    across = Design(delays=(1, 2), after_stacking=True).delayed([first, second])
    assert within[1].tolist() == [[0, 0], [3, 0], [4, 3]]
    assert across[1].tolist() == [[2, 1], [3, 2], [4, 3]], "as the reference: the story before reaches in"
    assert within[0].tolist() == across[0].tolist() == [[0, 0], [1, 0]]


def test_the_rows_of_a_story() -> None:
    times, trs = np.arange(0.0, 60, 0.5), np.arange(-9.0, 70, 2)
    vectors = np.random.default_rng(0).normal(size=(120, 3))
    rows = Design().rows("tale", vectors, times, trs)
    plain = align.downsample(vectors, times, trs)
    np.testing.assert_allclose(rows, align.zscore(plain[10:-5]), atol=1e-12)
    np.testing.assert_allclose(Design(trim=(0, 0), zscore=False).rows("t", vectors, times, trs), plain)
    with pytest.raises(InputError, match="story 'tale': 15 TRs, nothing is left after leaving out the first 10"):
        Design().rows("tale", vectors, times, trs[:15])


@pytest.mark.parametrize(
    ("design", "key"),
    [
        (Design(trim=(-1, 5)), "trim"),
        (Design(delays=()), "delays"),
        (Design(delays=(1, 1)), "delays"),
        (Design(window=0), "window"),
    ],
)
def test_wrong_settings(design: Design, key: str) -> None:
    assert [problem.path for problem in design.problems()] == [key]


def test_row_counts_name_the_story_and_both_counts() -> None:
    (line,) = align.row_problems(["a", "tale"], [5, 241], [5, 240], Design().trimmed)
    assert line.startswith(
        "story 'tale': 241 rows of features after leaving out the first 10 and the last 5 TRs, 240 rows"
    )
