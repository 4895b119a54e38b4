"""The features of all stories, rotated once into the basis where their Gram matrix is diagonal.

    primal   X'X = Q diag(l) Q'    Z = X Q
    dual     X X' = U diag(l) U'   Z = U diag(l)^(1/2)     (= X Q with Q = X'U diag(l)^(-1/2))

Ridge predictions do not change under a rotation of the features, and rows of X lie in the span of Q: Z, with
min(T, F) columns at most, replaces X in everything that follows, and both forms share it. The decomposition is in
float64 (Golub & Van Loan 2013, section 8); column i of Z has norm l_i^(1/2), so that products of Z with responses in
float32 are exact relative to their own direction, however unlike the l_i are.

With an intercept or standardised features X is centred about the mean of all stories first, and Z gets a column of
ones: its products are the sums that a fold needs to move to the mean of its own training stories.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoderlab.core.errors import InputError


def gram(x: Tensor) -> Tensor:
    """x'x, symmetric. NumPy sees that both factors are one array and computes half of it (BLAS syrk)."""
    if x.device.type == "cpu":
        array = x.numpy()
        return torch.from_numpy(array.T @ array)
    return x.T @ x


def product(a: Tensor, b: Tensor) -> Tensor:
    """a b. NumPy's BLAS is the faster one on a CPU that is not Intel's, and never much slower."""
    if a.device.type == "cpu":
        return torch.from_numpy(a.numpy() @ b.numpy())
    return a @ b


@dataclass(frozen=True, kw_only=True)
class Basis:
    """stories[s]: (T_s, K) float64, or (T_s, K + 1) with a last column of ones where `centred`; values: l (K,).

    vectors: (F, K), from the basis back to the features over their standard deviations; None unless standardised.
    still: the stories in which no feature changes: nothing but a constant can be predicted of them.
    """

    stories: Mapping[int, Tensor]
    values: Tensor
    centred: bool
    vectors: Tensor | None
    still: frozenset[int]

    @property
    def directions(self) -> int:
        return len(self.values)

    def total(self) -> Tensor:
        """The Gram matrix of all stories: diagonal, the last entry being the number of TRs where `centred`."""
        if not self.centred:
            return torch.diag(self.values)
        rows = sum(len(z) for z in self.stories.values())
        return torch.diag(torch.cat([self.values, self.values.new_tensor([rows])]))


def rotate(
    features: Mapping[int, NDArray[np.floating]],
    *,
    centred: bool,
    standardised: bool,
    dual: bool,
    device: torch.device,
) -> Basis:
    """The basis of these stories. features[s]: (T_s, F); `dual`: decompose (T, T) instead of (F, F)."""
    stacked = np.concatenate(list(features.values()), dtype=np.float64)
    centred = centred or standardised
    if centred:
        constant = (stacked == stacked[0]).all(axis=0)
        stacked -= stacked.mean(axis=0)
        stacked[:, constant] = 0  # exactly, not up to the rounding of the mean
    if standardised:  # scaling by what all stories share keeps the scales of the folds near one
        spread = np.sqrt(np.einsum("tf,tf->f", stacked, stacked) / len(stacked))
        stacked /= np.where(spread > 0, spread, 1.0)
    x = torch.from_numpy(stacked).to(device)
    values, vectors = torch.linalg.eigh(gram(x.T) if dual else gram(x))
    # directions below the rounding of the decomposition carry noise alone
    kept = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    if not kept.any():
        raise InputError("features: every one is constant over all stories; a ridge needs one that varies")
    values, vectors = values[kept], vectors[:, kept]
    if dual:
        z = vectors * values.sqrt()
        vectors = x.T @ (vectors / values.sqrt()) if standardised else vectors
    else:
        z = product(x, vectors)
    if centred:
        z = torch.cat([z, z.new_ones(len(z), 1)], dim=1)
    lengths = [len(rows) for rows in features.values()]
    return Basis(
        stories=dict(zip(features, z.split(lengths), strict=True)),
        values=values,
        centred=centred,
        vectors=vectors if standardised else None,
        still=frozenset(story for story, rows in features.items() if bool((rows == rows[0]).all())),
    )
