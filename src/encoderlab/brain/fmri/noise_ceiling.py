"""Estimate what a perfect model could score on a stimulus that was repeated: explainable variance, noise ceiling.

    response of repeat r at TR t      y_rt = s_t + e_rt,  z-scored over time
    explainable variance              ev = var_t(mean_r y) / mean_r var_t(y), biased by the noise left in mean_r y
    corrected                         ev - (1 - ev) / (R - 1), an estimate of var(s) / var(y)
    noise ceiling                     highest expected r with the mean of n repeats: sqrt(n ev / (1 + (n - 1) ev))
    normalised correlation            r / ceiling, of a voxel
    share of the ceiling              mean over voxels of r / ceiling of the mean over voxels of ev

The share is the number to quote. Quotients of single voxels divide by estimates that may be near 0, and their mean is
anything from .88 to 1.19 for a perfect model. For a perfect model of voxels whose ev differs, the share is below 1,
because a mean of roots is below the root of the mean.

Sahani & Linden (2003), Hsu, Borst & Theunissen (2004), Schoppe et al. (2016). The estimator is that of
voxelwise_tutorials (`explainable_variance`). The ceiling for n repeats is the root of the Spearman-Brown formula.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from encoderlab.brain.fmri.scores import Array, centred
from encoderlab.core.errors import InputError


def explainable_variance(repeats: ArrayLike, *, corrected: bool = True) -> Array:
    """Compute the explainable variance of each voxel.

    Args:
        repeats: (repeats, TRs, voxels) responses.
        corrected: whether to remove the bias; the result may then be below 0 for voxels without signal.

    Returns:
        (voxels,); nan if a repeat is constant or not finite.

    Raises:
        InputError: there are fewer than 2 repeats or TRs.
    """
    data = np.asarray(repeats, dtype=np.float64)
    if data.ndim != 3 or len(data) < 2 or data.shape[1] < 2:
        raise InputError(f"repeats {data.shape}: expected (repeats, TRs, voxels) with at least 2 repeats and 2 TRs")
    scored = np.stack([_z(repeat) for repeat in data])
    ev = scored.mean(axis=0).var(axis=0, ddof=1) / scored.var(axis=1, ddof=1).mean(axis=0)
    return ev - (1 - ev) / (len(data) - 1) if corrected else ev


def noise_ceiling(ev: ArrayLike, repeats: int = 1) -> Array:
    """Compute the noise ceiling of each voxel.

    Args:
        ev: (voxels,) corrected explainable variance.
        repeats: the number of repeats that the responses are the mean of.

    Returns:
        (voxels,) the highest expected r with that mean; 0 where ev <= 0.
    """
    share = np.maximum(np.asarray(ev, dtype=np.float64), 0.0)
    return np.sqrt(repeats * share / (1 + (repeats - 1) * share))


def normalised_correlation(r: ArrayLike, ceiling: ArrayLike) -> Array:
    """Divide each voxel's r by its ceiling; nan where the ceiling is 0.

    A quotient can exceed 1, because both numbers are estimates. This is most likely where the ceiling is low.
    """
    score, top = np.asarray(r, dtype=np.float64), np.asarray(ceiling, dtype=np.float64)
    return np.divide(score, top, out=np.full(np.broadcast(score, top).shape, np.nan), where=top > 0)


def share_of_ceiling(r: ArrayLike, ev: ArrayLike, repeats: int = 1) -> float:
    """Divide the mean r by the ceiling of the mean explainable variance, over the voxels that have both.

    Args:
        r: (voxels,) correlations with the mean of `repeats` repeats.
        ev: (voxels,) corrected explainable variance, negative values included.
        repeats: the number of repeats that the responses are the mean of.

    Returns:
        The share; nan if no voxel has both, or if the mean explainable variance is not above 0.
    """
    score, share = np.asarray(r, dtype=np.float64), np.asarray(ev, dtype=np.float64)
    both = np.isfinite(score) & np.isfinite(share)
    if not both.any() or share[both].mean() <= 0:
        return math.nan
    return float(score[both].mean() / noise_ceiling(share[both].mean(), repeats))


def _z(columns: Array) -> Array:
    deviations = centred(columns)[1]
    sd = deviations.std(axis=0)
    return np.divide(deviations, sd, out=np.full_like(deviations, np.nan), where=sd > 0)
