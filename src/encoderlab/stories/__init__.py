"""Stories with the times of their words and TRs, and vectors for every word."""

from encoderlab.stories.story import Story

__all__ = ["Story"]
