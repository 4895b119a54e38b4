"""The errors a user can meet.

EncoderlabError          exit 1
├── InputError           exit 2: a file, a value or a name is wrong; nothing was computed
├── RunFailed            exit 1: one run could not go on; the study continues with the next
└── Pruned               a trial was not worth going on with (training.epochs); the study continues with the next
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 2000  # characters of a problem; a cell of a file may have millions
_ENDLESS = re.compile(r"\S{1000,}")  # no name and no path, so its ends tell enough


class EncoderlabError(Exception):
    """Base of everything encoderlab raises on purpose; the command line prints it without a traceback."""

    exit_code = 1


class InputError(EncoderlabError):
    """Wrong input. Each problem is one line: what, where, what was expected, what to do."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(map(_one_line, problems))
        super().__init__("\n".join(self.problems))


def _one_line(problem: str) -> str:
    """Make a problem one line that a terminal can show: messages quote cells and names as files have them."""
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in problem
    )
    shown = _ENDLESS.sub(lambda run: f"{run[0][:300]}…{run[0][-100:]}", shown)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST // 2]} … {shown[-LONGEST // 4 :]}"


@contextmanager
def collecting(problems: list[str], where: str = "") -> Iterator[None]:
    """Adds the problems of an InputError inside to those of others, each with `where` in front, and goes on."""
    try:
        yield
    except InputError as error:
        problems += [f"{where}{line}" for line in error.problems]


class RunFailed(EncoderlabError):
    """One run ended early (a non-finite loss, a full disk); what it had computed is kept."""
