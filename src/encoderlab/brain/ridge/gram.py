"""Rotate the features of all stories once, into the basis where their Gram matrix is diagonal.

    primal   X'X = Q diag(l) Q'    Z = X Q
    dual     X X' = U diag(l) U'   Z = U diag(l)^(1/2)     (= X Q with Q = X'U diag(l)^(-1/2))

Ridge predictions do not change under a rotation of the features, and the rows of X lie in the span of Q. So Z, with at
most min(T, F) columns, replaces X from here on, and both forms give the same Z. The decomposition is in float64 (Golub
& Van Loan 2013, section 8). Column i of Z has norm l_i^(1/2), so float32 products of Z with responses are exact
relative to their own direction, even if the l_i differ by orders of magnitude.

With an intercept or standardised features, X is centred about the mean of all stories first, and Z gets a column of
ones. The products of that column are the sums that a fold needs to use the mean of its own training stories instead.
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
    """Compute x'x: (T, F) -> (F, F). NumPy sees that both factors are one array and computes half (BLAS syrk)."""
    if x.device.type == "cpu":
        array = x.numpy()
        return torch.from_numpy(array.T @ array)
    return x.T @ x


def product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply two matrices; on a CPU by NumPy's BLAS, which is faster on CPUs that are not Intel's."""
    if a.device.type == "cpu":
        return torch.from_numpy(a.numpy() @ b.numpy())
    return a @ b


@dataclass(frozen=True, kw_only=True)
class Basis:
    """The rotated features of all stories.

    Attributes:
        stories: {story: (T_s, K) float64}, or (T_s, K + 1) with a last column of ones if `centred`.
        values: (K,) eigenvalues l.
        centred: whether features were centred about the mean of all stories.
        vectors: (F, K), from the basis back to the features over their standard deviations; None unless standardised.
        still: the stories in which no feature changes; only a constant can be predicted of them.
    """

    stories: Mapping[int, Tensor]
    values: Tensor
    centred: bool
    vectors: Tensor | None
    still: frozenset[int]

    @property
    def directions(self) -> int:
        """The number of directions, K."""
        return len(self.values)

    def total(self) -> Tensor:
        """Return the diagonal Gram matrix of all stories; if `centred`, its last entry is the number of TRs."""
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
    """Rotate the features of these stories.

    Args:
        features: {story: (T_s, F)}.
        centred: whether to centre features about the mean of all stories.
        standardised: whether to scale features to standard deviation 1 over all stories; includes centring.
        dual: whether to decompose the (T, T) matrix instead of the (F, F) one.
        device: where the tensors are made.

    Raises:
        InputError: every feature is constant over all stories.
    """
    # Stack the stories, (T, F), then centre and scale the columns.
    stacked = np.concatenate(list(features.values()), dtype=np.float64)
    centred = centred or standardised
    if centred:
        constant = (stacked == stacked[0]).all(axis=0)
        stacked -= stacked.mean(axis=0)
        stacked[:, constant] = 0  # exactly 0, without the rounding of the mean
    if standardised:  # scaling by all stories keeps the later scales of the folds close to one
        spread = np.sqrt(np.einsum("tf,tf->f", stacked, stacked) / len(stacked))
        stacked /= np.where(spread > 0, spread, 1.0)
    # Decompose the Gram matrix, (F, F) or (T, T).
    x = torch.from_numpy(stacked).to(device)
    values, vectors = torch.linalg.eigh(gram(x.T) if dual else gram(x))
    # Drop directions below the rounding of the decomposition, which hold only noise; K are left.
    significant = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    if not significant.any():
        raise InputError("features: all are constant over all stories; expected at least one that varies")
    values, vectors = values[significant], vectors[:, significant]
    # Rotate the features: z is (T, K).
    if dual:
        z = vectors * values.sqrt()
        vectors = x.T @ (vectors / values.sqrt()) if standardised else vectors
    else:
        z = product(x, vectors)
    if centred:
        z = torch.cat([z, z.new_ones(len(z), 1)], dim=1)  # (T, K + 1)
    lengths = [len(rows) for rows in features.values()]
    return Basis(
        stories=dict(zip(features, z.split(lengths), strict=True)),
        values=values,
        centred=centred,
        vectors=vectors if standardised else None,
        still=frozenset(story for story, rows in features.items() if bool((rows == rows[0]).all())),
    )
