"""The one training loop and what it is made of."""

from encoderlab.training.loop import Trained, Trainer

__all__ = ["Trained", "Trainer"]
