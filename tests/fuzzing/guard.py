"""One case under its limits of time and memory, and what is said of it.

A reader may return, or raise InputError with one line for each problem. Everything else is a failure: another
exception, a warning of Python that escapes, more than 2 s of processor time, more than 500 MB.
"""

from __future__ import annotations

import re
import resource
import signal
import time
import traceback
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from encoderlab.core.errors import InputError

SECONDS, MEGABYTES = 2.0, 500.0
ADDRESSES = 2 * 1024 * 2**20  # bytes: more than a reader may ever reserve; asking for more is a MemoryError
LONGEST_LINE = 2000  # characters of a problem: nobody reads more


@dataclass(frozen=True)
class Outcome:
    """kind: read, warned, refused or failed. said: the notes, the problems or the failure. where: innermost line of
    encoderlab that a failure went through."""

    kind: str
    said: str = ""
    where: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0
    error: BaseException | None = None


class TooSlow(BaseException):
    """No Exception, so that no reader takes it for a damaged file."""


def judge(read: Callable[[], Sequence[str]], named: str) -> Outcome:
    """Call `read`, which returns the notes of what it has read. named: what a refusal has to name."""
    before, start, raised = _resident(reset=True), time.process_time(), None
    with warnings.catch_warnings(record=True) as escaped:
        warnings.simplefilter("always")
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning):  # Python shows none of them
            warnings.simplefilter("ignore", category)
        try:
            with _limits():
                notes = list(read())
            kind, said, where = ("warned" if notes else "read"), "; ".join(notes), ""
        except InputError as error:
            kind, said, where = _refusal(error, named)
            raised = error
        except BaseException as error:
            raised = error
            if isinstance(error, KeyboardInterrupt):
                raise
            kind, said, where = "failed", _first_line(error), _innermost(error)
    seconds, megabytes = time.process_time() - start, max(0.0, _resident(peak=True) - before)
    if kind != "failed":
        for problem in (
            f"{escaped[0].category.__name__} escaped: {escaped[0].message}" if escaped else "",
            f"{seconds:.1f} s of processor time" if seconds > SECONDS else "",
            f"{megabytes:.0f} MB more" if megabytes > MEGABYTES else "",
        ):
            if problem:
                kind, said = "failed", f"{problem} ({kind}: {said[:300]})"
    return Outcome(kind, said, where, seconds, megabytes, raised if kind == "failed" else None)


def _refusal(error: InputError, named: str) -> tuple[str, str, str]:
    for problem in error.lines or ("",):
        if wrong := fault(problem, named):
            return "failed", f"refused with {wrong}: {problem[:300]!a}", _innermost(error)
    cause: BaseException | None = error
    while cause is not None:  # `raise ... from None` keeps the context
        if (isinstance(cause, MemoryError) or "allocate" in str(cause)) and not _impossible(str(cause)):
            return "failed", f"asked for more than {ADDRESSES >> 20} MB: {error.lines[0][:300]}", _innermost(cause)
        cause = cause.__context__
    return "refused", "; ".join(error.lines), ""


def _impossible(said: str) -> bool:
    """Whether a failed request was for more than any machine has, so that it fails everywhere and costs nothing."""
    return bool(re.search(r"[TPE]iB|allocate \d{13,} bytes", said))


def fault(problem: str, named: str) -> str | None:
    """What is wrong with a line that is shown to a user; None where nothing is."""
    if not problem.strip():
        return "an empty line"
    if odd := [c for c in problem if c != "\t" and unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]:
        return f"{odd[0]!a} in a line"
    if len(problem) > LONGEST_LINE:
        return f"a line of {len(problem)} characters"
    return None if named in problem else "a line that does not name the file"


@contextmanager
def _limits() -> Iterator[None]:
    def stop(signal: int, frame: FrameType | None) -> None:
        raise TooSlow(f"more than {SECONDS:g} s of processor time")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, stop)
    try:
        if used := _status("VmSize"):
            resource.setrlimit(resource.RLIMIT_AS, (int(used * 2**20) + ADDRESSES, hard))
        signal.setitimer(signal.ITIMER_PROF, 2 * SECONDS)  # what is slower than SECONDS is told from the clock
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _resident(*, reset: bool = False, peak: bool = False) -> float:
    """Megabytes in memory now, or at most since the last reset; 0 where the system does not say."""
    if reset:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    return _status("VmHWM" if peak else "VmRSS")


def _status(key: str) -> float:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"


def _innermost(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "encoderlab" in f.filename]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}" if frames else ""
