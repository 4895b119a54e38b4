"""Is a voxel predicted above chance: p values by permutation of blocks, and the false discovery rate over voxels.

    null          within each held-out story the predictions are cut into blocks of B TRs, which change places: TRs that
                  follow each other stay together, as both signals are smooth; their tie to the responses is cut.
                  B spans several times the autocorrelation: shorter blocks give p values that are too small.
    statistic     R = sum over stories of the story's r
    p             of z = (R - mean R*) / sd R*, over the voxel's own n permuted R*; upper tail of Student's t
    many voxels   Benjamini & Hochberg (1995) adjusted p: the false discovery rate at which the voxel would be called

Counting alone, p = (1 + #{R* >= R}) / (1 + n), ends at 1 / (1 + n): among 8,000 voxels, fewer than 160 true ones would
never be called at .05 with n = 1,000, however well they are predicted. z goes on (as the tail approximations of Winkler
et al. 2016 do), between two limits: p is no less than what the count shows (Clopper-Pearson's lower end at 99.9 %: a
null whose tail is heavier than a normal one, as where two artefacts meet, is seen there), and no less than 1 / the
number of orders that the blocks have. Stories are permuted independently, so that mean and variance of R* are sums of
those of the stories; t has Satterthwaite's degrees of freedom, and 1 + 1 / n in its variance.

Blocks are permuted, not resampled: predictions keep their mean and variance, and the permuted r is a sum of products of
z scores. That sum splits by pairs (block moved, place taken), of which a story has few: the products of all pairs are
made once, and each permutation picks its own, B times fewer numbers than the TRs themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse, special, stats

from encoderlab.brain.fmri.scores import Array, centred, checked
from encoderlab.core.errors import InputError

PERMUTATIONS = 1000
PAIR_BYTES = 2**27  # for the products of all pairs of blocks; voxels are taken in batches that fit
TIE = 1e-10  # a permutation that only rounding tells from the data counts as a tie, hence against the voxel
SURE = 1e-3  # of the limit that the count of permutations sets
LEAST = 1e-300  # p is never 0


class BlockPermutation:
    """Null distribution of the mean over stories of r, from stories and batches of voxels added one by one.

    What all stories share by position (an onset, a drift) is not in the null: it counts as predicted.
    Every voxel of a story sees the same permutations, drawn from (seed, story): how voxels are batched changes nothing.
    Holds (permutations, voxels) float64; for a whole brain, one object per range of voxels gives the same p values.
    """

    def __init__(self, *, voxels: int, block: int, permutations: int = PERMUTATIONS, seed: int = 0) -> None:
        if block < 1 or permutations < 1:
            raise InputError(f"block {block} and permutations {permutations}: expected both to be at least 1")
        self.block, self.permutations, self.seed = block, permutations, seed
        self._sum = np.zeros((permutations, voxels))
        self._stories = np.zeros(voxels)
        # over stories: mean, variance, its square, and the logarithm of the number of orders
        self._mean, self._variance, self._square, self._orders = np.zeros((4, voxels))

    def add(self, story: int, voxels: slice, predicted: ArrayLike, actual: ArrayLike) -> None:
        """One held-out story: predicted and actual are (T, V) for the voxels of the slice.

        A voxel whose response has no r in this story (constant, or not finite) is left out of this story; a constant
        prediction of a response that varies counts as r = 0, under every permutation as well.
        """
        p, y = checked(predicted, actual)
        if p.shape[1] != len(self._stories[voxels]):
            raise InputError(f"{p.shape[1]} columns for {len(self._stories[voxels])} voxels ({voxels})")
        finite = np.isfinite(p).all(axis=0)
        p, y = _standardised(p), _standardised(y)
        used = finite & np.isfinite(y).all(axis=0)
        varies = used & np.isfinite(p).all(axis=0)
        p, y = np.where(varies, p, 0.0), np.where(used, y, 0.0)
        moves = _Moves(len(p), self.block, self.permutations, np.random.PCG64([self.seed, story, 0xB10C]))
        step = max(1, PAIR_BYTES // (8 * moves.pairs))
        target, mean = self._sum[:, voxels], self._mean[voxels]
        variance, square = self._variance[voxels], self._square[voxels]
        for start in range(0, p.shape[1], step):
            batch = slice(start, start + step)
            permuted = moves.correlations(p[:, batch], y[:, batch])
            target[:, batch] += permuted
            centre = _added(permuted) / self.permutations
            spread = _added((permuted - centre) ** 2) / max(self.permutations - 1, 1)
            mean[batch] += centre
            variance[batch] += spread
            square[batch] += spread**2
        self._stories[voxels] += used
        self._orders[voxels] += varies * log_orders([len(p)], self.block)

    def p_values(self, observed: ArrayLike) -> Array:
        """(V,) p of `observed`, the mean over the added stories of r (0 for a constant prediction); nan stays nan."""
        mean = np.asarray(observed, dtype=np.float64)
        if mean.shape != self._stories.shape:
            raise InputError(f"observed {mean.shape}: expected one mean over stories per voxel, {self._stories.shape}")
        n = self.permutations
        count = (self._sum >= (mean - TIE) * self._stories).sum(axis=0)
        spread = np.sqrt(self._variance * (1 + 1 / n))
        known = (spread > TIE * np.maximum(self._stories, 1)) & (n > 1)
        z = np.divide(mean * self._stories - self._mean, spread, out=np.zeros_like(mean), where=known)
        df = (n - 1) * np.divide(self._variance**2, self._square, out=np.ones_like(mean), where=known)
        seen = np.where(count > 0, special.betaincinv(np.maximum(count, 1), n - count + 1, SURE), 0.0)
        tail = np.maximum(stats.t.sf(z, np.maximum(df, 1)), seen)
        p = np.maximum(np.where(known, tail, (count + 1) / (n + 1)), np.maximum(np.exp(-self._orders), LEAST))
        return np.where(np.isnan(mean) | (self._stories == 0), np.nan, p)


def log_orders(lengths: Sequence[int], block: int) -> float:
    """Logarithm of the number of orders that the blocks of stories of these lengths have."""
    return sum(math.lgamma(-(-length // block) + 1) for length in lengths)


def smallest_p(lengths: Sequence[int], block: int) -> float:
    """The smallest p that a voxel measured in all stories can reach: that of one order among all."""
    return max(math.exp(-log_orders(lengths, block)), LEAST)


def _added(rows: Array) -> Array:
    """Sum of the rows, one after the other: `sum` adds in an order that depends on the number of columns."""
    return np.cumsum(rows, axis=0)[-1]


class _Moves:
    """The permutations of one story as a choice among pairs (block, place where it starts).

    All blocks have B TRs but the last, of B' <= B. Places behind the one that the last block has moved to start B - B'
    TRs earlier. So a full block starts at a multiple of B, or at B' + a multiple of B, and the last one at a multiple
    of B: products of the blocks with the responses cut in these two ways are all that a permutation needs.
    """

    def __init__(self, trs: int, block: int, permutations: int, bits: np.random.PCG64) -> None:
        self._block, self._full = block, (trs - 1) // block
        self._last = trs - self._full * block
        blocks = self._full + 1
        self.pairs = 2 * self._full**2 + blocks
        order = np.random.Generator(bits).permuted(np.tile(np.arange(blocks), (permutations, 1)), axis=1)
        rows, places = np.nonzero(order < self._full)
        late = places > np.argmax(order == self._full, axis=1)[rows]  # after the last block
        full_pair = (late * self._full + order[rows, places]) * self._full + places - late
        last_pair = 2 * self._full**2 + np.nonzero(order == self._full)[1]
        columns = np.concatenate([full_pair, last_pair])
        rows = np.concatenate([rows, np.arange(permutations)])
        ones = np.ones(len(columns))
        self._choice = sparse.csr_array((ones, (rows, columns)), shape=(permutations, self.pairs))

    def correlations(self, p: Array, y: Array) -> Array:
        """(T, V) columns of length 1 -> (permutations, V)."""
        edge, voxels = self._full * self._block, p.shape[1]
        moved = p[:edge].reshape(self._full, self._block, voxels).transpose(2, 0, 1)
        early = y[:edge].reshape(self._full, self._block, voxels).transpose(2, 1, 0)
        late = y[self._last :].reshape(self._full, self._block, voxels).transpose(2, 1, 0)
        starts = np.arange(self._full + 1) * self._block
        last = np.einsum("tv,ktv->kv", p[edge:], y[starts[:, None] + np.arange(self._last)])
        products = [(moved @ side).reshape(voxels, -1).T for side in (early, late)]
        return self._choice @ np.concatenate([*products, last])


def _standardised(columns: Array) -> Array:
    """Columns of mean 0 and length 1; nan where a column is constant or not finite."""
    deviations = centred(columns)[1]
    length = np.sqrt(np.einsum("tv,tv->v", deviations, deviations))
    return np.divide(deviations, length, out=np.full_like(deviations, np.nan), where=length > 0)


def benjamini_hochberg(p_values: ArrayLike) -> Array:
    """Adjusted p values; a nan is a voxel without a test: it stays nan and does not count towards the family."""
    p = np.asarray(p_values, dtype=np.float64)
    adjusted, tested = np.full(p.shape, np.nan), ~np.isnan(p)
    if tested.any():
        adjusted[tested] = stats.false_discovery_control(p[tested], method="bh")
    return adjusted
