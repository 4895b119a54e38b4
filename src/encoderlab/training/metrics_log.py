"""What a run logs while it trains: metrics.jsonl, a line a step and a line an epoch, and experiment trackers."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, final

from encoderlab.core.files import append_text, write_text
from encoderlab.training.trackers import Trackers, Tracking


@final
class Log:
    """The log of one run, cut back to the lines that its checkpoint knows of: the rest is trained again.

    Args:
        path: The file. None in a process that logs nothing.
        keep: How many lines the checkpoint knows of.
        tracking: The experiment trackers, if there are any.
        step: The last step that the checkpoint knows of.
    """

    def __init__(self, path: Path | None, keep: int, tracking: Tracking | None, step: int) -> None:
        self.path, self.lines, self.trackers = path, keep, Trackers()
        if path is None:
            return
        kept = path.read_text(encoding="utf-8").splitlines(keepends=True)[:keep] if path.exists() else []
        write_text(path, "".join(kept))
        self.lines = len(kept)
        if tracking is not None:
            self.trackers = tracking.open(step)

    def write(self, *, event: str, step: int, **entry: Any) -> None:
        """Add a line, and send its numbers to the trackers."""
        if self.path is None:
            return
        append_text(self.path, json.dumps({"event": event, "step": step, **entry}) + "\n")
        self.lines += 1
        # Trackers take a name once a step, and the last step of an epoch has given these.
        said = {"epoch", "seconds"} if event == "epoch" else set()
        self.trackers.log(step, **{name: value for name, value in entry.items() if name not in said})

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.trackers.close()
