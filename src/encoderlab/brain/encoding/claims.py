"""Put the claims of an encoding study about its feature spaces into words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from encoderlab.brain.fmri.paired import FEWEST


def sentence(subject: str, claim: Mapping[str, Any]) -> str:
    """Return the claim about one subject as a clause without numbers."""
    first, others = claim["feature"], claim["others"]
    if first is None:
        return f"No feature space could be scored for {subject}"
    if not others:
        return f"{first} in {subject}"
    if not claim["tested"]:
        few = f"{claim['stories']} stories, a test needs {FEWEST}"
        return f"{first} has the highest mean r in {subject}, not tested ({few})"
    if not claim["equals"]:
        return f"{first} predicts {subject} best"
    return f"{first} predicts {subject} best, but is not shown to be better than {', '.join(claim['equals'])}"
