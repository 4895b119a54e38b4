"""Test whether voxels are predicted above chance: p values by block permutation, false discovery rate over voxels.

    null          within each held-out story, blocks of B TRs of the predictions change places. Neighbouring TRs stay
                  together, as both signals are smooth; only their relation to the responses is broken.
                  B spans several times the autocorrelation: shorter blocks give p values that are too small.
    statistic     R = sum over stories of the story's r
    p             of z = (R - mean R*) / sd R*, over the voxel's own n permuted R*; upper tail of Student's t
    many voxels   Benjamini & Hochberg (1995) adjusted p: the false discovery rate at which the voxel would be called

Counting alone, p = (1 + #{R* >= R}) / (1 + n), cannot go below 1 / (1 + n). With n = 1,000 and 8,000 voxels, fewer than
160 true voxels would never be called at .05, however well they are predicted. The p of z can be smaller (as in the tail
approximations of Winkler et al. 2016), within two limits. It is not below what the count shows: the lower end of the
Clopper-Pearson interval at 99.9 %, which reveals a null with a heavier tail than a normal one, as where two artefacts
meet. It is not below 1 / the number of orders that the blocks have. Stories are permuted independently, so the mean and
variance of R* are sums over stories. t has Satterthwaite's degrees of freedom, and 1 + 1 / n in its variance.

Blocks are permuted, not resampled, so predictions keep their mean and variance, and the permuted r is a sum of products
of z scores. That sum splits by pairs (block moved, place taken), of which a story has few. The products of all pairs
are computed once, and each permutation picks its own: B times fewer numbers than the TRs themselves.
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
PAIR_BYTES = 2**27  # for the products of all pairs of blocks; batches of voxels are as large as fits
TIE = 1e-10  # a permutation that differs from the data only by rounding is a tie, which counts against the voxel
SURE = 1e-3  # error probability of the limit that the count of permutations sets
LEAST = 1e-300  # p is never 0


class BlockPermutation:
    """The null distribution of the mean over stories of r, built from stories and batches of voxels one by one.

    What all stories share by position (an onset, a drift) is not in the null, so it counts as predicted. All voxels of
    a story have the same permutations, drawn from (seed, story), so the batches of voxels do not change the result. The
    object holds (permutations, voxels) float64. For a whole brain, use one object for each range of voxels: the p
    values are the same.

    Args:
        voxels: number of voxels.
        block: TRs in a block.
        permutations: number of permutations.
        seed: seed of the permutations.

    Raises:
        InputError: `block` or `permutations` is below 1.
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
        """Add one held-out story.

        A voxel whose response has no r in this story (constant, or not finite) is left out of this story. A constant
        prediction of a response that varies counts as r = 0, under every permutation as well.

        Args:
            story: number of the story, from which its permutations are drawn.
            voxels: the voxels of the columns.
            predicted: (TRs, voxels of the slice).
            actual: (TRs, voxels of the slice).

        Raises:
            InputError: the shapes do not fit.
        """
        p, y = checked(predicted, actual)
        if p.shape[1] != len(self._stories[voxels]):
            raise InputError(
                f"{p.shape[1]} columns for {len(self._stories[voxels])} voxels ({voxels}); expected one per voxel"
            )
        # Standardise the columns, so that r is the plain product of two columns: (T, V) each.
        finite = np.isfinite(p).all(axis=0)
        p, y = _standardised(p), _standardised(y)
        used = finite & np.isfinite(y).all(axis=0)
        varies = used & np.isfinite(p).all(axis=0)
        p, y = np.where(varies, p, 0.0), np.where(used, y, 0.0)
        # Draw the permutations of this story; they are the same for every batch of voxels.
        moves = _Moves(len(p), self.block, self.permutations, np.random.PCG64([self.seed, story, 0xB10C]))
        step = max(1, PAIR_BYTES // (8 * moves.pairs))
        # These are views: adding to them changes the object. (permutations, voxels) and (voxels,) each.
        target, mean = self._sum[:, voxels], self._mean[voxels]
        variance, square = self._variance[voxels], self._square[voxels]
        for start in range(0, p.shape[1], step):
            batch = slice(start, start + step)
            # The permuted r of this story, (permutations, batch), and its mean and variance, (batch,).
            permuted = moves.correlations(p[:, batch], y[:, batch])
            target[:, batch] += permuted
            centre = _sum_of_rows(permuted) / self.permutations
            spread = _sum_of_rows((permuted - centre) ** 2) / max(self.permutations - 1, 1)
            mean[batch] += centre
            variance[batch] += spread
            square[batch] += spread**2
        self._stories[voxels] += used
        self._orders[voxels] += varies * log_orders([len(p)], self.block)

    def p_values(self, observed: ArrayLike) -> Array:
        """Compute the p value of each voxel.

        Args:
            observed: (voxels,) mean over the added stories of r, where a constant prediction has r = 0.

        Returns:
            (voxels,) p values; nan where `observed` is nan, or no story was used.

        Raises:
            InputError: the shape does not fit.
        """
        mean = np.asarray(observed, dtype=np.float64)
        if mean.shape != self._stories.shape:
            raise InputError(f"observed {mean.shape}: expected one mean over stories per voxel, {self._stories.shape}")
        n = self.permutations
        # Count the permutations that reach the observed sum, (V,).
        count = (self._sum >= (mean - TIE) * self._stories).sum(axis=0)
        # z of the observed sum under the null, and its degrees of freedom, (V,).
        spread = np.sqrt(self._variance * (1 + 1 / n))
        testable = (spread > TIE * np.maximum(self._stories, 1)) & (n > 1)
        z = np.divide(mean * self._stories - self._mean, spread, out=np.zeros_like(mean), where=testable)
        df = (n - 1) * np.divide(self._variance**2, self._square, out=np.ones_like(mean), where=testable)
        # The tail of t, but not below what the count shows nor below 1 / (number of orders).
        counted = np.where(count > 0, special.betaincinv(np.maximum(count, 1), n - count + 1, SURE), 0.0)
        tail = np.maximum(stats.t.sf(z, np.maximum(df, 1)), counted)
        p = np.maximum(np.where(testable, tail, (count + 1) / (n + 1)), np.maximum(np.exp(-self._orders), LEAST))
        return np.where(np.isnan(mean) | (self._stories == 0), np.nan, p)


def log_orders(lengths: Sequence[int], block: int) -> float:
    """Compute the logarithm of the number of orders that the blocks of stories of these lengths have."""
    return sum(math.lgamma(-(-length // block) + 1) for length in lengths)


def smallest_p(lengths: Sequence[int], block: int) -> float:
    """Compute the smallest p that a voxel measured in all stories can reach: that of one order among all."""
    return max(math.exp(-log_orders(lengths, block)), LEAST)


def _sum_of_rows(rows: Array) -> Array:
    """Add the rows one after the other: `sum` would add in an order that depends on the number of columns."""
    return np.cumsum(rows, axis=0)[-1]


class _Moves:
    """The permutations of one story as a choice among pairs (block, place where it starts).

    All blocks have B TRs except the last, which has B' <= B. If the last block moves forward, the places behind it
    start B - B' TRs earlier. So a full block starts at a multiple of B, or at B' + a multiple of B, and the last block
    starts at a multiple of B. A permutation needs only the products of the blocks with the responses cut in these two
    ways.
    """

    def __init__(self, trs: int, block: int, permutations: int, bits: np.random.PCG64) -> None:
        self._block, self._full = block, (trs - 1) // block  # number of full blocks
        self._last = trs - self._full * block  # B'
        blocks = self._full + 1
        self.pairs = 2 * self._full**2 + blocks
        # Draw which block takes each place, (permutations, blocks).
        order = np.random.Generator(bits).permuted(np.tile(np.arange(blocks), (permutations, 1)), axis=1)
        # Number the pair of each full block: (early or late, block, place); places after the last block are late.
        rows, places = np.nonzero(order < self._full)
        late = places > np.argmax(order == self._full, axis=1)[rows]
        full_pair = (late * self._full + order[rows, places]) * self._full + places - late
        # The pairs of the last block, one for each place, come after those of the full blocks.
        last_pair = 2 * self._full**2 + np.nonzero(order == self._full)[1]
        columns = np.concatenate([full_pair, last_pair])
        rows = np.concatenate([rows, np.arange(permutations)])
        ones = np.ones(len(columns))
        # (permutations, pairs): a 1 for each pair that a permutation uses.
        self._choice = sparse.csr_array((ones, (rows, columns)), shape=(permutations, self.pairs))

    def correlations(self, p: Array, y: Array) -> Array:
        """Correlate permuted predictions with responses: two (T, V) of columns of length 1 -> (permutations, V)."""
        edge, voxels = self._full * self._block, p.shape[1]
        # The full blocks of p, (V, full, B), and of y cut from its first TR and from TR B', (V, B, full).
        moved = p[:edge].reshape(self._full, self._block, voxels).transpose(2, 0, 1)
        early = y[:edge].reshape(self._full, self._block, voxels).transpose(2, 1, 0)
        late = y[self._last :].reshape(self._full, self._block, voxels).transpose(2, 1, 0)
        # The products of the last block with every place, (full + 1, V).
        starts = np.arange(self._full + 1) * self._block
        last = np.einsum("tv,ktv->kv", p[edge:], y[starts[:, None] + np.arange(self._last)])
        # The products of all pairs, (pairs, V), summed as each permutation chooses.
        products = [(moved @ side).reshape(voxels, -1).T for side in (early, late)]
        return self._choice @ np.concatenate([*products, last])


def _standardised(columns: Array) -> Array:
    """Scale (T, V) columns to mean 0 and length 1; nan where a column is constant or not finite."""
    deviations = centred(columns)[1]
    length = np.sqrt(np.einsum("tv,tv->v", deviations, deviations))
    return np.divide(deviations, length, out=np.full_like(deviations, np.nan), where=length > 0)


def benjamini_hochberg(p_values: ArrayLike) -> Array:
    """Adjust p values to control the false discovery rate; a nan is not a test, and stays nan."""
    p = np.asarray(p_values, dtype=np.float64)
    adjusted, tested = np.full(p.shape, np.nan), ~np.isnan(p)
    if tested.any():
        adjusted[tested] = stats.false_discovery_control(p[tested], method="bh")
    return adjusted
