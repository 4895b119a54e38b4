"""The errors a user can meet.

EncoderlabError          exit 1
├── InputError           exit 2: a file, a value or a name is wrong; nothing was computed
└── RunFailed            exit 1: one run could not go on; the study continues with the next
"""

from __future__ import annotations


class EncoderlabError(Exception):
    """Base of everything encoderlab raises on purpose; the command line prints it without a traceback."""

    exit_code = 1


class InputError(EncoderlabError):
    """Wrong input. Each problem is one line: what, where, what was expected, what to do."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RunFailed(EncoderlabError):
    """One run ended early (a non-finite loss, a full disk); what it had computed is kept."""
