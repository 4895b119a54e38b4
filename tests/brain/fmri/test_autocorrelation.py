"""How long blocks must be: against known autocorrelations, and the share of noise that the test really calls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from encoderlab.brain.fmri import autocorrelation, scores, significance
from encoderlab.brain.fmri.responses import StoryResponses


def ar(coefficient: float, lengths: list[int], voxels: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    noise = [rng.normal(size=(trs + 200, voxels)) for trs in lengths]
    return [np.asarray(lfilter([1.0], [1.0, -coefficient], one, axis=0))[200:] for one in noise]


def pink(exponent: float, lengths: list[int], voxels: int, seed: int) -> list[np.ndarray]:
    """Power 1 / f^exponent: slow drifts, as of responses whose trends were not taken out."""
    rng, made = np.random.default_rng(seed), []
    for trs in lengths:
        f = np.fft.rfftfreq(4 * trs)
        f[0] = f[1]
        parts = rng.normal(size=(2, len(f), voxels)) / f[:, None] ** (exponent / 2)
        made.append(np.fft.irfft(parts[0] + 1j * parts[1], axis=0)[:trs])
    return made


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.7, 0.9])
def test_the_autocorrelation_of_a_known_process(coefficient: float) -> None:
    rho = autocorrelation.autocorrelation(StoryResponses.from_arrays(ar(coefficient, [300, 200, 280], 60, 1)))
    np.testing.assert_allclose(rho[:8], coefficient ** np.arange(8), atol=0.03)


def test_the_rate_by_hand() -> None:
    """One lag of .5, B = 2: full 1.5, kept 1.25."""
    from scipy.stats import norm

    got = autocorrelation.false_positives(np.array([1.0, 0.5, 0.0, 0.3]), 2)
    assert got == pytest.approx(norm.sf(norm.isf(0.05) * np.sqrt(1.25 / 1.5)))
    assert autocorrelation.false_positives(np.ones(1), 5) == pytest.approx(0.05)


@pytest.mark.parametrize("block", [5, 20])
def test_the_rate_is_the_one_that_the_test_has(block: int) -> None:
    lengths, voxels = [250, 250, 250], 2500
    predicted, actual = ar(0.9, lengths, voxels, 2), ar(0.9, lengths, voxels, 3)
    null = significance.BlockPermutation(voxels=voxels, block=block, permutations=150)
    for story in range(3):
        null.add(story, slice(None), predicted[story], actual[story])
    r = np.mean([scores.correlation(p, y) for p, y in zip(predicted, actual, strict=True)], axis=0)
    rho = autocorrelation.autocorrelation(StoryResponses.from_arrays(actual))
    assert autocorrelation.false_positives(rho, block) == pytest.approx((null.p_values(r) <= 0.05).mean(), abs=0.015)


@pytest.mark.parametrize("coefficient", [0.0, 0.3, 0.7])
def test_nothing_to_say_of_responses_as_they_usually_are(coefficient: float) -> None:
    assert autocorrelation.warning(StoryResponses.from_arrays(ar(coefficient, [120, 90, 150], 40, 4)), 20) is None


def test_blocks_that_are_too_short_are_named_with_some_that_are_not() -> None:
    slow = StoryResponses.from_arrays(ar(0.9, [300, 320], 60, 5))
    said = autocorrelation.warning(slow, 20) or ""
    assert "block = 30 is long enough" in said or "block = 40 is long enough" in said
    assert autocorrelation.warning(slow, int(said.rpartition("block = ")[2].split(" ")[0])) is None
    drifting = autocorrelation.warning(StoryResponses.from_arrays(pink(1.5, [300, 320], 60, 6)), 20) or ""
    assert "no block is both long enough" in drifting and "drifts" in drifting
    assert autocorrelation.warning(StoryResponses.from_arrays(ar(0.7, [120, 90], 60, 7)), 4) is not None


def test_gaps_and_constant_voxels_take_no_part() -> None:
    arrays = ar(0.6, [200, 150], 50, 8)
    whole = autocorrelation.autocorrelation(StoryResponses.from_arrays([one[:, 2:] for one in arrays]))
    arrays[0][:, 0], arrays[1][3, 0] = 4.0, np.nan
    arrays[0][7, 1], arrays[1][:, 1] = np.inf, np.nan
    holed = autocorrelation.autocorrelation(StoryResponses.from_arrays(arrays))
    np.testing.assert_allclose(holed, whole, atol=1e-12)
    nothing = StoryResponses.from_arrays([np.full((30, 2), np.nan), np.ones((3, 2))])
    assert autocorrelation.warning(nothing, 20) is None
