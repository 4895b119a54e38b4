"""Check whether the blocks of the permutation test are long enough for the responses.

    rho(k)      correlation of a response with itself k TRs later, over stories and voxels
    full        1 + 2 sum_k rho(k)^2                    the variance of r relative to white noise, if predictions are as
                                                        smooth as responses (Bartlett)
    in_blocks   1 + 2 sum_{k < B} (1 - k / B) rho(k)^2  the part of it that blocks of B TRs preserve
    rate        P(z > z_.95 sqrt(in_blocks / full))     the share of noise that is called at p < .05

The sums end at the first lag with rho(k) <= 0, beyond which there is only noise. rho is measured about the mean of each
story, which lowers every lag by 1 / T of `full`; this bias is corrected.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from encoderlab.brain.fmri.responses import StoryResponses

SAMPLE = 200  # voxels in the check, evenly spread
LEVEL = 0.05
MOST = 0.065  # share of noise that may be called at LEVEL without a warning
ROUND = (5, 10, 20, 30, 40, 50, 60, 80, 100, 150, 200, 300)


def autocorrelation(responses: StoryResponses) -> NDArray[np.float64]:
    """Measure rho(0), rho(1), ... up to half of the longest story.

    Only voxels that have a number in every TR of a story count there.

    Returns:
        (lags,) correlations; just 1 if no voxel can be used.
    """
    step = max(1, -(-responses.voxels // SAMPLE))
    lags = max(responses.lengths) // 2
    products, counts, trs = np.zeros(lags + 1), np.zeros(lags + 1), 0
    for story, length in enumerate(responses.lengths):
        y = responses.read(story, slice(0, responses.voxels, step)).astype(np.float64)
        y = y[~np.isnan(y).all(axis=1)]  # without censored TRs; the TRs around them count as neighbours
        y = y[:, np.isfinite(y).all(axis=0)]
        y = y[:, np.ptp(y, axis=0) > 0] if len(y) > 2 else y[:, :0]
        if not y.size:
            continue
        y = (y - y.mean(axis=0)) / y.std(axis=0)  # (T, V)
        # The sums of products at all lags by Fourier transform, padded so that ends do not meet: (lags,).
        power = np.abs(np.fft.rfft(y, 2 * length, axis=0)) ** 2
        lagged = np.fft.irfft(power.sum(axis=1))[: min(lags, len(y) // 2) + 1]
        products[: len(lagged)] += lagged
        counts[: len(lagged)] += y.shape[1] * (len(y) - np.arange(len(lagged)))
        trs = max(trs, len(y))
    if not trs:
        return np.ones(1)
    rho = products / np.maximum(counts, 1)
    end = _end(rho)
    bias = (1 + 2 * rho[1:end].sum()) / trs
    rho = rho + bias * (1 - rho)
    return rho / rho[0]


def false_positives(rho: NDArray[np.float64], block: int) -> float:
    """Compute the share of noise that blocks of `block` TRs call at p < .05.

    Args:
        rho: (lags,) autocorrelation of the responses.
        block: TRs in a block.
    """
    square = rho[1 : _end(rho)] ** 2
    lag = np.arange(1, len(square) + 1)
    full = 1 + 2 * square.sum()
    in_blocks = 1 + 2 * (np.maximum(0, 1 - lag / block) * square).sum()
    return float(norm.sf(norm.isf(LEVEL) * np.sqrt(in_blocks / full)))


def warning(responses: StoryResponses, block: int) -> str | None:
    """Warn if `block` is too short for the responses, and name a longer one of which a story holds five."""
    rho = autocorrelation(responses)
    rate = false_positives(rho, block)
    if rate <= MOST:
        return None
    longest = max(responses.lengths) // 5
    enough = [other for other in ROUND if block < other <= longest and false_positives(rho, other) <= MOST]
    advice = (
        f"block = {enough[0]} is long enough"
        if enough
        else "no block is both long enough and contained five times in a story; remove slow drifts from the responses, "
        "or read p values near the level with care"
    )
    lag = min(block, len(rho) - 1)
    return (
        f"responses are correlated over more TRs than block = {block} keeps together (r {rho[1]:.2f} after one TR, "
        f"{rho[lag]:.2f} after {lag}): if predictions are equally smooth, {rate:.3f} of unpredicted voxels become "
        f"significant at p < .05 before the adjustment; {advice}"
    )


def _end(rho: NDArray[np.float64]) -> int:
    """Find the first lag at which no correlation is left."""
    low = np.flatnonzero(rho <= 0)
    return int(low[0]) if low.size else len(rho)
