"""Predict held-out stories by a ridge model of all other stories, for any penalty and without a refit.

With G = Z'Z and W = Z'Y over all stories, U the held-out ones, and penalty a on the squared norm:

    downdate   G - Z_U'Z_U = R diag(l_U) R'                   Yhat_s = Z_s R (l_U + a)^(-1) R'(W - W_U)
    identity   H = Z_U (l + a)^(-1) Z_U'                      Yhat_U = (I - H)^(-1) Z_U (l + a)^(-1) (W - W_U)

Both are exact. Down-dating decomposes one (K, K) matrix per model, which serves every penalty. The identity (Woodbury;
the leave-one-out formula of Allen 1974 in blocks) factorises one (T_U, T_U) matrix per model and penalty.
An intercept centres on the training stories. In the identity it is a column of ones in Z without a penalty; in
down-dating it is a change of mean. Standardised features change the penalty from fold to fold, so only down-dating
applies.

A predicted story is a (T_s + 1, V) matrix: TRs minus the mean over the story, then that mean. Correlations are then
plain products, without cancellation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from encoderlab.brain.ridge.gram import Basis, gram, product


class Downdated:
    """A model by down-dating: the decomposition of the training stories' Gram matrix.

    Args:
        basis: the rotated features of all stories.
        held: the stories U that the model trains without.
        dtype: of the products; the decomposition is in float64.
        intercept: whether predictions include the mean of the training responses.
    """

    def __init__(self, basis: Basis, held: Sequence[int], dtype: torch.dtype, *, intercept: bool) -> None:
        self.basis, self.dtype, self.intercept = basis, dtype, intercept
        # G - Z_U'Z_U: the Gram matrix of the training stories, (K, K), or (K + 1, K + 1) with sums if centred.
        k = basis.directions
        training = basis.total()
        for story in held:
            training = training - gram(basis.stories[story])
        # Move from the mean of all stories to that of the training stories, (K,).
        matrix, self.rows, self.mean = training[:k, :k], 1.0, None
        if basis.centred:
            self.rows, self.mean = float(training[k, k]), training[:k, k] / training[k, k]
            matrix = matrix - self.rows * torch.outer(self.mean, self.mean)
        # Standardise by the training stories: features have scales (F,), so the penalty is a (K, K) metric.
        metric = None
        if basis.vectors is not None and self.mean is not None:
            variance = ((basis.vectors @ matrix) * basis.vectors).sum(1) / self.rows
            noise = 1e-12 * (basis.vectors @ self.mean).square().clamp(min=1.0)  # over all stories the variance is 1
            spread = torch.where(variance > noise, variance, 1.0).sqrt()  # a constant feature is not scaled
            metric = torch.linalg.cholesky(gram(basis.vectors / spread[:, None]))
            matrix = metric.T @ matrix @ metric
        # Decompose it: R diag(l_U) R'.
        values, rotation = torch.linalg.eigh(matrix)
        # Drop directions that only the held-out stories have: their weights are zero, up to rounding.
        significant = values > values[-1] * k * torch.finfo(values.dtype).eps
        self.values, rotation = values[significant], rotation[:, significant]
        self.rotation = (rotation if metric is None else metric @ rotation).to(dtype)

    def fit(self, cross: Tensor) -> None:
        """Rotate the products of features and responses.

        Args:
            cross: Z'Y of the training stories, (K, V) float64, with the sums of Y as a last row if centred.
        """
        self.level = None
        if self.mean is not None:
            sums, cross = cross[-1], cross[:-1] - torch.outer(self.mean, cross[-1])
            self.level = (sums / self.rows).to(self.dtype) if self.intercept else None
        self.cross = product(self.rotation.T, cross.to(self.dtype))

    def operator(self, story: int) -> Tensor:
        """Compute the (T_s + 1, K) matrix that turns rotated weights into the story's predictions."""
        z = self.basis.stories[story][:, : self.basis.directions]
        middle = z.mean(0, keepdim=True)
        level = middle if self.mean is None else middle - self.mean
        return product(torch.cat([z - middle, level]).to(self.dtype), self.rotation)

    def predict(
        self, stories: Sequence[int], penalties: Sequence[float], voxels: Sequence[Tensor | slice]
    ) -> Iterator[tuple[int, int, Tensor]]:
        """Yield (story, i, (T_s + 1, voxels[i])), the prediction under penalties[i]."""
        for story in stories:
            operator = self.operator(story)
            for i, (penalty, columns) in enumerate(zip(penalties, voxels, strict=True)):
                # Z_s R (l_U + a)^(-1) times R'(W - W_U)
                predicted = product(operator / (self.values + penalty).to(self.dtype), self.cross[:, columns])
                if self.level is not None:
                    predicted[-1] += self.level[columns]
                yield story, i, predicted


class Identity:
    """A model by the block identity: the block of the held-out stories in the hat matrix, a penalty at a time.

    Args:
        basis: the rotated features of all stories.
        held: the stories U that the model trains without.
        dtype: of the products; I - H is in float64.
    """

    def __init__(self, basis: Basis, held: Sequence[int], dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.values, self.penalised = basis.values, torch.ones_like(basis.values)
        if basis.centred:  # the column of ones has no penalty
            self.values = torch.diagonal(basis.total())
            self.penalised = torch.cat([self.penalised, self.penalised.new_zeros(1)])
        lengths = [len(basis.stories[story]) for story in held]
        starts = [sum(lengths[:i]) for i in range(len(lengths))]
        self.rows = {story: slice(start, start + n) for story, start, n in zip(held, starts, lengths, strict=True)}
        self.z = torch.cat([basis.stories[story] for story in held])  # (T_U, K)

    def fit(self, cross: Tensor) -> None:
        """Keep Z'Y of the training stories, (K, V)."""
        self.cross = cross.to(self.dtype)

    def predict(
        self, stories: Sequence[int], penalties: Sequence[float], voxels: Sequence[Tensor | slice]
    ) -> Iterator[tuple[int, int, Tensor]]:
        """Yield (story, i, (T_s + 1, voxels[i])), the prediction under penalties[i]."""
        z = self.z.to(self.dtype)
        for i, (penalty, columns) in enumerate(zip(penalties, voxels, strict=True)):
            # (I - H)^(-1), (T_U, T_U)
            inverse = torch.cholesky_inverse(torch.linalg.cholesky(self._residual(penalty, self.dtype)))
            # Z_U (l + a)^(-1) (W - W_U), (T_U, voxels)
            fitted = product(z * self._shrinkage(penalty).to(self.dtype), self.cross[:, columns])
            for story in stories:
                # The rows of this story, minus their mean, and that mean: (T_s + 1, T_U).
                rows = inverse[self.rows[story]]
                middle = rows.mean(0, keepdim=True)
                yield story, i, product(torch.cat([rows - middle, middle]).to(self.dtype), fitted)

    def _shrinkage(self, penalty: float) -> Tensor:
        return 1 / (self.values + penalty * self.penalised)

    def _residual(self, penalty: float, dtype: torch.dtype) -> Tensor:
        """Compute I - H, (T_U, T_U) float64, with the products of H in `dtype`."""
        half = (self.z * self._shrinkage(penalty).sqrt()).to(dtype)
        hat = gram(half.T).to(torch.float64)
        return torch.eye(len(hat), dtype=hat.dtype, device=hat.device) - hat


def amplifies(basis: Basis, held: Sequence[int], penalty: float, limit: float) -> bool:
    """Return whether the rounding error of W - W_U can grow more than `limit` times in the predictions of U.

    It grows at most by 1 / (smallest eigenvalue of I - H). That is within the limit if (1 - 1 / limit) I - H has a
    Cholesky factor.
    """
    rows = torch.cat([basis.stories[s][:, : basis.directions] for s in held]) / (basis.values + penalty).sqrt()
    hat = gram(rows.T) if len(rows) < rows.shape[1] else gram(rows)
    bound = (1 - 1 / limit) * torch.eye(len(hat), dtype=hat.dtype, device=hat.device)
    return bool(torch.linalg.cholesky_ex(bound - hat).info)


def cheaper(held_rows: int, directions: int, voxels: int, penalties: int) -> str:
    """Choose the form with fewer operations; an eigendecomposition costs about as much as 20 K^3 of a product."""
    identity = penalties * (held_rows**2 * (directions + 2 * voxels) + 2 * held_rows**3)
    downdate = 20 * directions**3 + 4 * held_rows * directions**2 + 2 * directions**2 * voxels
    return "identity" if identity < downdate else "downdate"
