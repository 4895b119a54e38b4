"""What every way of fine-tuning has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from encoderlab.backbone import Backbone


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """How a backbone becomes trainable. A subclass is one `[[method]]` section, its fields the keys.

    learning_rate: the candidates, one number or several; None takes `default_learning_rate` times the study's search
    factors.
    """

    name: str
    learning_rate: float | tuple[float, ...] | None = None

    default_learning_rate: ClassVar[float]

    @abstractmethod
    def insert(self, backbone: Backbone, seed: int) -> None:
        """Add this method's parts to the frozen model and mark what trains. Draws come from `seed` alone."""

    def inject(self, backbone: Backbone, seed: int) -> None:
        """Freeze the model, insert the method's parts, and let the head and every fresh tensor train. In place."""
        backbone.model.requires_grad_(False)
        self.insert(backbone, seed)
        for name, parameter in backbone.model.named_parameters():
            if backbone.is_head(name):
                parameter.requires_grad_(True)

    def merge(self, backbone: Backbone) -> None:  # noqa: B027  (nothing to fold is the common case, not an omission)
        """Fold the method into the pretrained weights where that gives the same function. In place."""

    def problems(self, config: Any) -> list[str]:
        """What is wrong with this section for a model of this transformers config; one line each."""
        return []


def some_layers(layers: str | tuple[int, ...]) -> list[str]:
    """The problem with a choice of layers that chooses none, if there is one."""
    return (
        [] if layers else ["layers = []: expected at least one layer; to train the head alone, use the method 'head'"]
    )


def positive(name: str, value: int, meaning: str) -> list[str]:
    """The problem with a count that is not at least 1, if there is one."""
    return [] if value >= 1 else [f"{name} = {value}: expected a whole number of at least 1 ({meaning})"]
