"""Measure how closely responses follow words by chance, with word rates shifted in a circle within each story.

    c*(k)     the alignment check's curve if the word rate of each story is shifted, and what leaves at the end enters
              at the front; the shift of each story is drawn independently
    chance    the largest c*(k) over all lags; a peak is clear if it is above the second largest of 200 (level 1 %)

Shifted rates are as smooth as before, and responses do not change. So the null includes what voxels share, and their
autocorrelation. The whole rate is shifted, with the silence before and after the story. A lag brings some of this
silence to the responses, and slow noise correlates with silence more than with words. Shifts at which a tested lag
would meet a true one are left out, if a story is long enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

DRAWS = 200
ABOVE = 1  # draws that may reach a clear peak: (ABOVE + 1) / (DRAWS + 1) is 1 %
ENOUGH, WIDER = 20, 2.0  # with fewer independent shifts, as of one short story, the level is twice as high
VOXELS = 500  # voxels in the null, evenly spread over those of the alignment check
SEED = 0xD0C


@final
@dataclass(frozen=True)
class Chance:
    """The distribution of the peak of c(k) by chance.

    Attributes:
        peaks: (DRAWS,) peaks of the curve over all stories.
        alone: for each story, the peaks of its own curve at every shift.
        step: every `step`-th voxel of the alignment check is in the null.
        ways: the number of independent ways to shift the stories.
    """

    peaks: NDArray
    alone: tuple[NDArray, ...]
    step: int
    ways: float

    @property
    def level(self) -> float:
        """The value that a peak exceeds by chance in 1 % of cases."""
        return float(np.sort(self.peaks)[-1 - ABOVE]) * (1.0 if self.ways >= ENOUGH else WIDER)

    def exceeded(self, each: NDArray) -> bool:
        """Return whether the peak of (stories, lags, voxels) correlations is beyond chance."""
        return bool(curve_of(each[..., :: self.step]).max() > self.level)

    def exceeded_alone(self, each: NDArray) -> NDArray[np.bool_]:
        """Test each story by itself: its peak exceeds 99 % of the shifts, or all shifts if there are fewer than 100.

        Args:
            each: (stories, lags, voxels) correlations.

        Returns:
            (stories,) True for a peak beyond chance.
        """
        peaks = [curve_of(story[None, :, :: self.step]).max() for story in each]
        return np.array(
            [
                bool(len(moved)) and (moved >= peak).sum() <= 0.01 * len(moved)
                for peak, moved in zip(peaks, self.alone, strict=True)
            ]
        )


class Moved:
    """The sums over stories of shifted correlations, to which stories are added one by one."""

    def __init__(self, lags: Sequence[int], voxels: int) -> None:
        self._lags, self._step = np.asarray(lags), max(1, -(-voxels // VOXELS))
        self._sum = np.zeros((DRAWS, len(lags), -(-voxels // self._step)))
        self._stories, self._ways = 0, 1.0
        self._alone: list[NDArray] = []
        self._draw = np.random.Generator(np.random.PCG64([SEED]))

    def add(self, rate: NDArray, first: int, y: NDArray, uncensored: NDArray[np.bool_]) -> None:
        """Add one story.

        Args:
            rate: (TRs,) number of words in each TR of the story, before trimming.
            first: the TR of the first response.
            y: (rows, voxels) responses.
            uncensored: (rows,) True for rows that are not censored; the other rows are left out.
        """
        length = max(0, min(len(rate) - first, len(y)))
        rows = np.flatnonzero(uncensored[:length])
        if len(rows) < 10:
            self._alone.append(np.empty(0))
            return
        # r at every circular shift of the rate, (TRs, V)
        every = _circular(rate, y[rows, :: self._step], first + rows)
        # shifts that keep all lags away from the true ones
        reach = int(np.ptp(self._lags)) + 1
        away = np.arange(reach, len(rate) - reach + 1) if len(rate) >= 3 * reach else np.arange(len(rate))
        # one random shift a draw: (DRAWS, lags, V)
        shifts = self._draw.choice(away, DRAWS)
        self._sum += every[(shifts[:, None] + self._lags) % len(rate)]
        self._stories += 1
        self._ways *= max(1.0, len(away) / len(self._lags))
        # the peak of this story alone at every shift, (shifts,)
        size = np.sqrt((every**2).mean(axis=1))
        self._alone.append(size[(away[:, None] + self._lags) % len(rate)].max(axis=1))

    def chance(self) -> Chance:
        """Return the distribution over the stories added so far."""
        mean = self._sum / max(self._stories, 1)
        peaks = np.sqrt((mean**2).mean(axis=2)).max(axis=1)
        return Chance(peaks, tuple(self._alone), self._step, self._ways)


def curve_of(each: NDArray) -> NDArray:
    """Compute c(k), the root mean square over voxels of the mean over stories: (stories, lags, voxels) -> (lags,)."""
    counts = (~np.isnan(each)).sum(axis=0)
    return np.sqrt(((np.nansum(each, axis=0) / np.maximum(counts, 1)) ** 2).mean(axis=1))


def _circular(rate: NDArray, y: NDArray, places: NDArray[np.intp]) -> NDArray:
    """Correlate the responses with the whole rate, shifted in a circle.

    Args:
        rate: (T,) number of words in each TR.
        y: (rows, V) responses.
        places: (rows,) the TR of each response.

    Returns:
        (T, V): row k has Pearson's r with the rate shifted forward by k TRs, at the places of the responses; 0 as in
        `correlation`.
    """
    a, total = rate - rate.mean(), len(rate)
    b = y - y.mean(axis=0)
    power = (b**2).sum(axis=0)
    placed, there = np.zeros((total, y.shape[1])), np.zeros((total, 1))
    placed[places], there[places] = np.where(np.isfinite(power), b, 0.0), 1.0
    # sums over the places: of the shifted rate, of its square, and of its products with each response
    first, second, products = _shifted_sums(a, there), _shifted_sums(a**2, there), _shifted_sums(a, placed)
    size = np.sqrt(np.maximum(second - first**2 / len(places), 0.0) * power)
    defined = np.isfinite(size) & (size > 1e-9 * np.sqrt((a @ a) * power))  # rounding of the transforms leaves less
    return np.where(defined, products, 0.0) / np.where(defined, size, 1.0)


def _shifted_sums(a: NDArray, columns: NDArray) -> NDArray:
    """Sum a[i - k] times columns[i] over i, in a circle, for every k: (T,), (T, V) -> (T, V)."""
    spectrum = np.conj(np.fft.rfft(a))[:, None] * np.fft.rfft(columns, axis=0)
    return np.fft.irfft(spectrum, len(a), axis=0)


def correlation(rate: NDArray, y: NDArray) -> NDArray:
    """Compute Pearson's r of (T,) with each column of (T, V); 0 where one is constant or a number is missing."""
    a, b = rate - rate.mean(), y - y.mean(axis=0)
    size = np.sqrt((a @ a) * (b**2).sum(axis=0))
    defined = np.isfinite(size) & (size > 0)
    return np.where(defined, a @ np.where(defined, b, 0.0), 0.0) / np.where(defined, size, 1.0)
