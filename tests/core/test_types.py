"""The annotations of a section: what a key accepts, and what it means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge

from encoderlab.core.types import Count, Doc, did_you_mean_choice, fits, meanings, rest, takes_list, types, words


@dataclass(frozen=True, kw_only=True)
class Base:
    """A section."""

    rank: Annotated[Count, Doc("number of columns")] = 8
    mode: Annotated[Literal["mean", "last"], Doc("how words are combined")] = "mean"


@dataclass(frozen=True, kw_only=True)
class Derived(Base):
    """A section that gives an inherited key another meaning."""

    rank: Annotated[Count, Doc("number of columns at the end")] = 8
    layers: Annotated[tuple[Annotated[int, Ge(0)], ...] | None, Doc("numbers")] = None
    plain: str = ""
    others: dict[str, object] = field(default_factory=dict, metadata={"rest": True})


def test_the_meaning_of_a_key_is_its_doc() -> None:
    assert meanings(Base) == {"rank": "number of columns", "mode": "how words are combined"}
    assert meanings(Derived) == {**meanings(Base), "rank": "number of columns at the end", "layers": "numbers"}


def test_the_type_of_a_key_is_its_annotation_without_the_doc() -> None:
    kinds = types(Derived)
    assert list(kinds) == ["rank", "mode", "layers", "plain"] and rest(Derived) == "others"
    assert kinds["rank"] == Count and kinds["plain"] is str
    assert words(kinds["rank"]) == "a whole number from 1 up" and not fits(kinds["rank"], 0)
    assert words(kinds["layers"]) == "a list of whole numbers from 0 up" and takes_list(kinds["layers"])
    assert did_you_mean_choice(kinds["mode"], "meen") == "did you mean 'mean'?"
    assert did_you_mean_choice(kinds["mode"], 3) == did_you_mean_choice(kinds["plain"], "meen") == ""
