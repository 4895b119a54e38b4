"""How closely responses follow words by chance: the same word rates, moved round within each story.

    c*(k)     the alignment check's curve where the word rate of each story begins at another TR, and what falls off the
              end comes in at the front; the shift is drawn for each story by itself
    chance    the largest c*(k) over all lags looked at; a peak is clear above the second largest of 200, in 1 %

Moved rates are as smooth as they were, and responses stay as they are, so that what voxels share, and how long they
remember it, is in the null. Shifts at which a lag meets the true ones are left out, where a story is long enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

DRAWS = 200
ABOVE = 1  # draws that may reach a clear peak: (ABOVE + 1) / (DRAWS + 1) is 1 %
ENOUGH, WIDER = 20, 2.0  # with fewer ways, as of one story, the largest peak says little: the level is twice as high
VOXELS = 500  # looked at, evenly spread over those of the alignment check
SEED = 0xD0C


@final
@dataclass(frozen=True)
class Chance:
    """peaks: (DRAWS,) of the curve over all stories. alone: of each story by itself, at every shift. step: of voxels.
    ways: in how many independent ways the stories can be moved."""

    peaks: NDArray
    alone: tuple[NDArray, ...]
    step: int
    ways: float

    @property
    def level(self) -> float:
        return float(np.sort(self.peaks)[-1 - ABOVE]) * (1.0 if self.ways >= ENOUGH else WIDER)

    def exceeded(self, each: NDArray) -> bool:
        """Whether the peak of these (stories, lags, voxels) correlations is beyond chance."""
        return bool(curve_of(each[..., :: self.step]).max() > self.level)

    def exceeded_alone(self, each: NDArray) -> NDArray[np.bool_]:
        """(stories,) by itself: beyond 99 % of the shifts, or beyond all where these are fewer than 100."""
        peaks = [curve_of(one[None, :, :: self.step]).max() for one in each]
        return np.array(
            [
                bool(len(moved)) and (moved >= peak).sum() <= 0.01 * len(moved)
                for peak, moved in zip(peaks, self.alone, strict=True)
            ]
        )


class Moved:
    """Collects stories one by one."""

    def __init__(self, lags: Sequence[int], voxels: int) -> None:
        self._lags, self._step = np.asarray(lags), max(1, -(-voxels // VOXELS))
        self._sum = np.zeros((DRAWS, len(lags), -(-voxels // self._step)))
        self._stories, self._ways = 0, 1.0
        self._alone: list[NDArray] = []
        self._draw = np.random.Generator(np.random.PCG64([SEED]))

    def add(self, rate: NDArray, y: NDArray, some: NDArray[np.bool_]) -> None:
        """Take in one story.

        Args:
            rate: (T,) words of each TR of the responses.
            y: (T, V) responses.
            some: TRs that are not censored; they are left out, and the rest moves up.
        """
        length = min(len(rate), len(y))
        kept = some[:length]
        rate, y = rate[:length][kept], y[:length, :: self._step][kept]
        if len(rate) < 10:
            self._alone.append(np.empty(0))
            return
        every = _circular(rate, y)  # (T, V)
        reach = int(np.ptp(self._lags)) + 1
        away = np.arange(reach, len(rate) - reach + 1) if len(rate) >= 3 * reach else np.arange(len(rate))
        shifts = self._draw.choice(away, DRAWS)
        self._sum += every[(shifts[:, None] + self._lags) % len(rate)]
        self._stories += 1
        self._ways *= max(1.0, len(away) / len(self._lags))
        size = np.sqrt((every**2).mean(axis=1))
        self._alone.append(size[(away[:, None] + self._lags) % len(rate)].max(axis=1))

    def chance(self) -> Chance:
        mean = self._sum / max(self._stories, 1)
        peaks = np.sqrt((mean**2).mean(axis=2)).max(axis=1)
        return Chance(peaks, tuple(self._alone), self._step, self._ways)


def curve_of(each: NDArray) -> NDArray:
    """(lags,) root mean square over voxels of the mean over stories."""
    counts = (~np.isnan(each)).sum(axis=0)
    return np.sqrt(((np.nansum(each, axis=0) / np.maximum(counts, 1)) ** 2).mean(axis=1))


def _circular(rate: NDArray, y: NDArray) -> NDArray:
    """(T, V): row k is the correlation with the rate moved round by k TRs; 0 as in `correlation`."""
    a, b, known = _standard(rate[:, None], y)
    spectrum = np.conj(np.fft.rfft(a, axis=0)) * np.fft.rfft(b, axis=0)
    return np.where(known, np.fft.irfft(spectrum, len(rate), axis=0), 0.0)


def _standard(rate: NDArray, y: NDArray) -> tuple[NDArray, NDArray, NDArray[np.bool_]]:
    a, b = rate - rate.mean(axis=0), y - y.mean(axis=0)
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    known = np.isfinite(size) & (size > 0)
    return a, np.where(known, b, 0.0) / np.where(known, size, 1.0), known


def correlation(rate: NDArray, y: NDArray) -> NDArray:
    """Pearson r of each column; 0 where one of the two is constant or a number is missing."""
    a, b, known = _standard(rate[:, None], y)
    return np.where(known, a[:, 0] @ b, 0.0)
