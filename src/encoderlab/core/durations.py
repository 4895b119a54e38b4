"""Write durations for people: what was measured in full, what is estimated in one unit."""

from __future__ import annotations


def measured(seconds: float) -> str:
    """Format a measured duration: '4.2 s', '3 min 05 s', '2 h 07 min'."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == 0 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def rough(seconds: float) -> str:
    """Format an estimated duration in one unit: '40 s', '12 min', '2.5 h'; nan is an unknown time."""
    if seconds != seconds:
        return "unknown time"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
