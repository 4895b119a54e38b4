"""Is a voxel predicted above chance, and is one feature space better than another: p values by permutation.

    one space     within each held-out story the predictions are cut into blocks of B TRs, which change places: TRs that
                  follow each other stay together, as both signals are smooth; their tie to the responses is cut.
                  B spans several times the autocorrelation: shorter blocks give p values that are too small.
                  Statistic: mean over stories of the story's r.      p = (1 + #{permuted >= observed}) / (1 + n)
    two spaces    d_s = score of a - score of b in story s; if the two are equal, the sign of d_s is as likely + as -.
                  Statistic: |sum over stories of sign_s d_s|.        p as above, two-sided
    many voxels   Benjamini & Hochberg (1995) adjusted p: the false discovery rate at which the voxel would be called

The 1 in both places counts the data as one of the permutations, so that p is never 0 (Phipson & Smyth 2010). Blocks
are permuted, not resampled: predictions keep their mean and variance, and the permuted r is a sum of products of z
scores. That sum splits by pairs (block moved, place taken), of which a story has few: the products of all pairs are
made once, and each permutation picks its own, B times fewer numbers than the TRs themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse, stats

from encoderlab import stats as intervals
from encoderlab.brain.scores import Array, centred, checked, nan_mean
from encoderlab.errors import InputError

PERMUTATIONS = 1000
PAIR_BYTES = 2**27  # for the products of all pairs of blocks; voxels are taken in batches that fit
TIE = 1e-10  # a permutation that only rounding tells from the data counts as a tie, hence against the voxel


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
        p, y = np.where(used & np.isfinite(p).all(axis=0), p, 0.0), np.where(used, y, 0.0)
        moves = _Moves(len(p), self.block, self.permutations, np.random.PCG64([self.seed, story, 0xB10C]))
        step = max(1, PAIR_BYTES // (8 * moves.pairs))
        target, stories = self._sum[:, voxels], self._stories[voxels]
        for start in range(0, p.shape[1], step):
            batch = slice(start, start + step)
            target[:, batch] += moves.correlations(p[:, batch], y[:, batch])
        stories += used

    def p_values(self, observed: ArrayLike) -> Array:
        """(V,) p of `observed`, the mean over the added stories of r (0 for a constant prediction); nan stays nan."""
        mean = np.asarray(observed, dtype=np.float64)
        if mean.shape != self._stories.shape:
            raise InputError(f"observed {mean.shape}: expected one mean over stories per voxel, {self._stories.shape}")
        count = (self._sum >= (mean - TIE) * self._stories).sum(axis=0)
        return np.where(np.isnan(mean) | (self._stories == 0), np.nan, (count + 1) / (self.permutations + 1))


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


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Feature space a against b. Over stories: of the mean over the voxels that both score in the story."""

    difference: Array  # (V,) mean over stories of score a - score b; nan where no story has both
    p_values: Array  # (V,) sign-flip test over stories, two-sided, not adjusted
    mean: float  # over stories of the mean over voxels
    low: float  # t interval of `mean`
    high: float
    p: float  # sign-flip test of `mean`
    stories: int  # with at least one voxel scored by both


def paired(scores_a: ArrayLike, scores_b: ArrayLike, *, seed: int = 0, permutations: int = PERMUTATIONS) -> Paired:
    """Two feature spaces on the same stories and voxels, (S, V) each.

    The story is the unit. Models of different folds share most of their training stories, so differences are not quite
    independent from story to story: p values near the level deserve caution.
    """
    a, b = np.asarray(scores_a, dtype=np.float64), np.asarray(scores_b, dtype=np.float64)
    if a.ndim != 2 or a.shape != b.shape or not len(a):
        raise InputError(f"scores {a.shape} and {b.shape}: expected two equal shapes (stories, voxels), stories >= 1")
    d = a - b
    over_voxels = nan_mean(d, axis=1)
    rng = np.random.Generator(np.random.PCG64([seed, 0x516F]))
    signs = rng.choice(np.array([-1.0, 1.0]), size=(permutations, len(d)))
    spread = intervals.over_seeds(over_voxels[~np.isnan(over_voxels)])
    return Paired(
        difference=nan_mean(d, axis=0),
        p_values=_sign_flips(signs, d),
        mean=spread.mean,
        low=spread.low,
        high=spread.high,
        p=float(_sign_flips(signs, over_voxels[:, None])[0]),
        stories=int((~np.isnan(over_voxels)).sum()),
    )


def _sign_flips(signs: Array, d: Array) -> Array:
    """(n, S) signs and (S, V) differences -> (V,) two-sided p; nan differences take no part."""
    kept = np.nan_to_num(d, nan=0.0)
    observed = np.abs(kept.sum(axis=0))
    count = np.zeros(d.shape[1])
    step = max(1, PAIR_BYTES // (8 * len(signs)))
    for start in range(0, d.shape[1], step):
        batch = slice(start, start + step)
        count[batch] = (np.abs(signs @ kept[:, batch]) >= observed[batch] - TIE).sum(axis=0)
    return np.where(np.isnan(d).all(axis=0), np.nan, (count + 1) / (len(signs) + 1))
