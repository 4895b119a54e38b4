"""The interface of a fine-tuning method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from encoderlab.core.types import Doc
from encoderlab.model.encoder import EncoderModel


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A way to make an encoder trainable. A subclass is one `[[method]]` section, its fields are the keys.

    learning_rate: the candidates, one number or several; None takes `default_learning_rate` times the study's search
    factors.
    """

    name: str
    learning_rate: Annotated[
        float | tuple[float, ...] | None,
        Doc("the learning rate, or a list of candidates; default: candidates around the default of the method"),
    ] = None

    default_learning_rate: ClassVar[float]
    merges: ClassVar[bool] = False  # whether `merge` folds the method into the pretrained weights

    @abstractmethod
    def insert(self, encoder: EncoderModel, seed: int) -> None:
        """Add the parts of this method to the frozen model and mark what trains, in place.

        Random numbers depend on `seed` alone.
        """

    def inject(self, encoder: EncoderModel, seed: int) -> None:
        """Freeze the model, insert the method, and unfreeze the head and every newly initialized tensor, in place."""
        encoder.model.requires_grad_(False)
        self.insert(encoder, seed)
        encoder.base_model.packs = self.packs  # type: ignore[assignment]
        for name, parameter in encoder.model.named_parameters():
            if encoder.is_head(name):
                parameter.requires_grad_(True)

    @property
    def packs(self) -> bool:
        """Whether sequences can lie end to end: the method mixes no tokens, and leaves the encoder's inputs alone."""
        return True

    def merge(self, encoder: EncoderModel) -> None:  # noqa: B027  (nothing to fold is the common case, not an omission)
        """Fold the method into the pretrained weights, in place, if that gives the same function."""

    def problems(self, encoder: EncoderModel) -> list[str]:
        """Return one line for each reason why this section does not fit the names and sizes of this model."""
        return []

    def positions_taken(self) -> int:
        """Return how many positions of the model the method occupies; texts must be shorter by as many."""
        return 0

    # Hooks of a run. Most methods need none of them.

    def rate_factors(self, encoder: EncoderModel) -> dict[str, float]:
        """Return {parameter: factor on the learning rate of the run} for parameters with a rate of their own."""
        return {}

    def regulariser(self, encoder: EncoderModel) -> Tensor | None:
        """Return a scalar that is added once to the loss of each step, or None."""
        return None

    def after_step(self, encoder: EncoderModel, step: int, steps: int) -> None:  # noqa: B027
        """Update the method after optimizer step `step` (from 1) of `steps`, while the gradients still exist."""

    def state(self, encoder: EncoderModel) -> dict[str, Tensor]:
        """Return the tensors by name that `after_step` remembers. A resumed run fills them in place."""
        return {}

    def can_be_best(self, step: int, steps: int) -> bool:
        """Return whether an epoch that ends after this step may become the result of the run."""
        return True

    def trimmed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors to save, by their names in the adapter file, without those that have no effect."""
        return dict(tensors)

    def resize(self, encoder: EncoderModel, tensors: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Give the inserted parts the sizes of a saved file, because training may have changed them."""


def some_layers(layers: str | tuple[int, ...]) -> list[str]:
    """Return the problem with an empty choice of layers, if there is one."""
    return (
        [] if layers else ["layers = []: expected at least one layer; to train the head alone, use the method 'head'"]
    )


def positive(name: str, value: int, meaning: str) -> list[str]:
    """Return the problem with a count below 1, if there is one."""
    return [] if value >= 1 else [f"{name} = {value}: expected a whole number of at least 1 ({meaning})"]
