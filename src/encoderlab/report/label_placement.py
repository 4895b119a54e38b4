"""Place labels beside points without covering a point or another label (greedy, nearest free place first)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle in figure units; y points upwards."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlap(self, other: Box) -> float:
        """Return the shared area."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(0.0, width) * max(0.0, height)

    @property
    def area(self) -> float:
        """Width times height."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)


def place(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    obstacles: Sequence[Box],
    frame: Box,
    *,
    gap: float = 6.0,
) -> list[Box]:
    """Return one box of the given (width, height) per point. All lengths are in points of 1/72 inch.

    Crowded labels are placed first. Each takes the candidate that covers least, then the nearest one. Candidates lie
    on growing rings around the point. `obstacles` have a small weight: a label on top of one can still be read.
    """
    taken = [Box(x - gap, y - gap * 0.7, x + gap, y + gap * 0.7) for x, y in points]
    crowd = [sum(abs(y - v) < 30 and abs(x - u) < 150 for u, v in points) for x, y in points]
    boxes: dict[int, Box] = {}
    for i in sorted(range(len(points)), key=lambda i: -crowd[i]):
        best = min(
            _candidates(points[i], sizes[i], gap),
            key=lambda c: (
                50 * (c[1].area - c[1].overlap(frame))
                + 10 * sum(c[1].overlap(b) for b in taken)
                + 0.2 * sum(c[1].overlap(b) for b in obstacles)
                + c[0]
            ),
        )[1]
        boxes[i] = best
        taken.append(best)
    return [boxes[i] for i in range(len(points))]


def _candidates(point: tuple[float, float], size: tuple[float, float], gap: float) -> list[tuple[float, Box]]:
    """Return (distance penalty, box) around a point: right, left, above and below, then further up and down."""
    (x, y), (w, h) = point, size
    candidates = []
    for ring in range(12):
        rise = ring * h * 0.6
        for sign in (1, -1):
            middle = y + sign * rise
            shift = gap + 1 + ring * 2.0
            for penalty, left in ((0.0, x + shift), (1.0, x - shift - w), (2.0, x - w / 2)):
                if penalty == 2.0 and rise < h:
                    continue  # a centred label would cover its own point
                candidates.append((penalty + rise + ring, Box(left, middle - h / 2, left + w, middle + h / 2)))
    return candidates
