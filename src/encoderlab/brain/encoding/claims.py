"""The claims of an encoding study about its feature spaces, and their words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

from encoderlab.brain.fmri.paired import FEWEST


@final
@dataclass(frozen=True, kw_only=True)
class Rival:
    """A feature space that is compared with the best one of a subject.

    Attributes:
        feature: its label.
        difference: mean r of the best space minus that of this one.
        difference_low: lower end of the interval of the difference; None with fewer than two stories.
        difference_high: upper end of the interval.
        p: of the difference (`fmri.paired.against_best`); None with too few stories for a test.
    """

    feature: str
    difference: float
    difference_low: float | None
    difference_high: float | None
    p: float | None


@final
@dataclass(frozen=True, kw_only=True)
class Claim:
    """The feature space that predicts one subject best.

    Attributes:
        feature: the space with the highest mean r; None if nothing was scored.
        stories: the number of stories that it was scored on.
        tested: whether every comparison with another space has a p.
        others: the other spaces.
        equals: labels of the others that cannot be distinguished from the best.
    """

    feature: str | None
    stories: int = 0
    tested: bool = False
    others: tuple[Rival, ...] = ()
    equals: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the claim as encoding.json keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Claim:
        """Read a claim of encoding.json."""
        others = tuple(Rival(**other) for other in content["others"])
        return cls(**{**content, "others": others, "equals": tuple(content["equals"])})


def sentence(subject: str, claim: Claim) -> str:
    """Return the claim about one subject as a clause without numbers."""
    if claim.feature is None:
        return f"No feature space could be scored for {subject}"
    if not claim.others:
        return f"{claim.feature} in {subject}"
    if not claim.tested:
        few = f"{claim.stories} stories, a test needs {FEWEST}"
        return f"{claim.feature} has the highest mean r in {subject}, not tested ({few})"
    if not claim.equals:
        return f"{claim.feature} predicts {subject} best"
    return f"{claim.feature} predicts {subject} best, but is not shown to be better than {', '.join(claim.equals)}"
