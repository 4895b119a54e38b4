"""What every way of fine-tuning has in common."""

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
    """How a backbone becomes trainable. A subclass is one `[[method]]` section, its fields the keys.

    learning_rate: the candidates, one number or several; None takes `default_learning_rate` times the study's search
    factors.
    """

    name: str
    learning_rate: Annotated[
        float | tuple[float, ...] | None,
        Doc("the learning rate, or a list of candidates; default: candidates around the default of the method"),
    ] = None

    default_learning_rate: ClassVar[float]

    @abstractmethod
    def insert(self, backbone: EncoderModel, seed: int) -> None:
        """Add this method's parts to the frozen model and mark what trains. Draws come from `seed` alone."""

    def inject(self, backbone: EncoderModel, seed: int) -> None:
        """Freeze the model, insert the method's parts, and let the head and every fresh tensor train. In place."""
        backbone.model.requires_grad_(False)
        self.insert(backbone, seed)
        for name, parameter in backbone.model.named_parameters():
            if backbone.is_head(name):
                parameter.requires_grad_(True)

    def merge(self, backbone: EncoderModel) -> None:  # noqa: B027  (nothing to fold is the common case, not an omission)
        """Fold the method into the pretrained weights where that gives the same function. In place."""

    def problems(self, backbone: EncoderModel) -> list[str]:
        """Why this section does not fit this model, whose part names and sizes it may read; one line each."""
        return []

    def positions_taken(self) -> int:
        """How many of the model's positions the method takes for itself, so that texts have to be shorter."""
        return 0

    # Moments of a run. Most methods need none of them.

    def rate_factors(self, backbone: EncoderModel) -> dict[str, float]:
        """{parameter: what multiplies the run's learning rate}, for those that do not train at the plain rate."""
        return {}

    def regulariser(self, backbone: EncoderModel) -> Tensor | None:
        """A term that a step's loss gets once, a scalar; or None."""
        return None

    def after_step(self, backbone: EncoderModel, step: int, steps: int) -> None:  # noqa: B027
        """Called after optimizer step `step` (from 1) of `steps`, while its gradients are still there."""

    def state(self, backbone: EncoderModel) -> dict[str, Tensor]:
        """What `after_step` remembers, by name: tensors that a resumed run needs and a user does not. Filled in
        place."""
        return {}

    def settled(self, step: int, steps: int) -> bool:
        """Whether an epoch that ends after this step may become the run's result."""
        return True

    def trimmed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors to save, of the adapter file's names: without those that no longer do anything."""
        return dict(tensors)

    def resize(self, backbone: EncoderModel, tensors: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Give the inserted parts the sizes of a saved file, where training changed them."""


def some_layers(layers: str | tuple[int, ...]) -> list[str]:
    """The problem with a choice of layers that chooses none, if there is one."""
    return (
        [] if layers else ["layers = []: expected at least one layer; to train the head alone, use the method 'head'"]
    )


def positive(name: str, value: int, meaning: str) -> list[str]:
    """The problem with a count that is not at least 1, if there is one."""
    return [] if value >= 1 else [f"{name} = {value}: expected a whole number of at least 1 ({meaning})"]
