"""What an encoding study claims of its feature spaces, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from encoderlab.brain.fmri.paired import FEWEST


def sentence(subject: str, claim: Mapping[str, Any]) -> str:
    """What the claim says, without a number."""
    first, others = claim["feature"], claim["others"]
    if first is None:
        return f"nothing could be scored in {subject}"
    if not others:
        return f"{first} in {subject}"
    if not claim["tested"]:
        few = f"{claim['stories']} of the {FEWEST} stories that a test asks for"
        return f"{first} has the highest mean r in {subject}, not tested: {few}"
    if not claim["equals"]:
        return f"{first} predicts {subject} best"
    return f"{first} predicts {subject} best, not distinguishable from {', '.join(claim['equals'])}"
