"""The errors that a user can meet.

EncoderlabError          exit 1
├── InputError           exit 2: a file, a value or a name is wrong; nothing was computed
├── RunFailed            exit 1: one run ended early; the study continues with the next one
└── Pruned               a trial was stopped early (training.epochs); the study continues with the next one
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import final

LONGEST = 2000  # characters of a problem; a cell of a file may have millions
_ENDLESS = re.compile(r"\S{1000,}")  # no name and no path, so its ends tell enough


class EncoderlabError(Exception):
    """Base of everything encoderlab raises on purpose; the command line prints it without a traceback."""

    exit_code = 1


@final
@dataclass(frozen=True)
class Problem:
    """One problem of the user's input. It prints as one line, `path: message; hint`.

    Attributes:
        path: the place: a key such as `train.epochs`, a file, or both (`study.toml: train.epochs`); may be empty.
        message: what is wrong, and what was expected.
        hint: what to do; empty if the message says it.
    """

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        advice = f"; {self.hint}" if self.hint else ""
        return _one_line(f"{where}{self.message}{advice}")

    def at(self, place: str) -> Problem:
        """Return the problem with a place in front of its path, as in `study.toml: train.epochs`."""
        return replace(self, path=": ".join(part for part in (place, self.path) if part))

    def under(self, section: str) -> Problem:
        """Return the problem with its key in a section, as in `train.epochs`."""
        return replace(self, path=".".join(part for part in (section, self.path) if part))


class InputError(EncoderlabError):
    """The input is wrong. Every problem prints as one line, and no line is repeated.

    Args:
        problems: the problems; a plain string is a problem whose message already says where it is.
    """

    exit_code = 2

    def __init__(self, *problems: Problem | str) -> None:
        given = [Problem("", problem) if isinstance(problem, str) else problem for problem in problems]
        self.problems = tuple({str(problem): problem for problem in given}.values())
        super().__init__(*self.problems)  # unchanged: unpickling an error calls it with its arguments

    @property
    def lines(self) -> tuple[str, ...]:
        """The problems as lines of text."""
        return tuple(map(str, self.problems))

    def __str__(self) -> str:
        return "\n".join(self.lines)


def _one_line(problem: str) -> str:
    """Make a problem one line that a terminal can show. Messages quote cells and names, which may hold anything."""
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in problem
    )
    shown = _ENDLESS.sub(lambda run: f"{run[0][:300]}…{run[0][-100:]}", shown)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST // 2]} … {shown[-LONGEST // 4 :]}"


def first_line(error: BaseException, *, named: bool = False) -> str:
    """Return the first line of the message of an exception. Without a message, its type stands for it.

    Args:
        error: an exception, usually of another library.
        named: whether the type comes before the message.
    """
    kind, lines = type(error).__name__, str(error).strip().splitlines()
    if not lines:
        return kind
    return f"{kind}: {lines[0].rstrip()}" if named else lines[0].rstrip()


@contextmanager
def collecting(problems: list[Problem], place: str = "") -> Generator[None]:
    """Collect the problems of an InputError that is raised inside, and continue after the block.

    Args:
        problems: the list that the problems are appended to.
        place: the place to put in front of each problem's path.
    """
    try:
        yield
    except InputError as error:
        problems += [problem.at(place) for problem in error.problems]


class RunFailed(EncoderlabError):
    """One run ended early (a non-finite loss, a full disk). Its finished results are kept."""
