"""Format numbers for tables, figures and sentences. None becomes an en dash."""

from __future__ import annotations

import math

from encoderlab.core import durations
from encoderlab.tasks.metric import MetricInfo

NOTHING = "–"
MINUS = "−"


def percent(value: float | None, digits: int = 1) -> str:
    """Format a share in [0, 1] in per cent, without the per cent sign: 0.874 -> '87.4'."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}"


def points(value: float | None, digits: int = 1) -> str:
    """Format a difference of shares in percentage points, always with its sign: -0.0023 -> '−0.2'."""
    if value is None:
        return NOTHING
    text = f"{100 * value:+.{digits}f}".replace("-", MINUS)
    return text if text.strip("+−0.") else f"{0:.{digits}f}"


def score(value: float | None, metric: MetricInfo, extra: int = 0) -> str:
    """Format a value of a study's metric without its unit: '87.4' (percentage), '0.874' (plain number), '112' (large).

    `extra` adds digits.
    """
    if metric.percent or value is None:
        return percent(value, 1 + extra)
    return _number(value, metric, extra).replace("-", MINUS, value < 0)


def gain(value: float | None, metric: MetricInfo) -> str:
    """Format a difference of two values of the metric, always with its sign."""
    if metric.percent or value is None:
        return points(value)
    text = ("+" * (value >= 0) + _number(value, metric)).replace("-", MINUS, value < 0)
    return text if text.strip("+−0.") else "0.000"


def _number(value: float, metric: MetricInfo, extra: int = 0) -> str:
    """Format a bounded metric with fixed decimals, and a metric with a unit with three significant digits."""
    if math.isinf(metric.bounds[1]) and 0 < abs(value) < 0.1:
        return f"{value:#.{3 + extra}g}"
    return f"{value:.{_decimals(value) + extra}f}"


def _decimals(value: float) -> int:
    """Return the number of decimals for three significant digits, or three decimals below 1."""
    return 3 if abs(value) < 1 else max(0, 3 - len(str(int(abs(value)))))


def heading(metric: MetricInfo) -> str:
    """Return the name of the metric with its unit: 'accuracy, %'."""
    return f"{metric.label}, %" if metric.percent else metric.label


def count(value: float | None) -> str:
    """Format a count with thousands separators: 12345 -> '12,345'."""
    return NOTHING if value is None else f"{value:,}"


def short_count(value: float) -> str:
    """Format a count with a unit prefix: 1500 -> '1.5k', 22565000 -> '22.6M'."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:g}"


def correlation(value: float | None, digits: int = 4, *, sign: bool = False) -> str:
    """Format a correlation without its leading zero, as papers print it: 0.0543 -> '.0543'."""
    if value is None:
        return NOTHING
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("0.", ".", 1).replace("-", MINUS)


def p_value(value: float | None) -> str:
    """Format a p-value: '<0.001', '0.012', '0.35'."""
    if value is None:
        return NOTHING
    if value < 0.001:
        return "<0.001"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def duration(seconds: float | None) -> str:
    """Format seconds: '4.2 s', '3 min 05 s', '2 h 07 min'."""
    return NOTHING if seconds is None else durations.measured(seconds)


def size(number: float | None) -> str:
    """Format a number of bytes in kB, MB or GB (powers of ten)."""
    if number is None:
        return NOTHING
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= scale:
            value = number / scale
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
    return f"{number:.0f} B"


def memory(megabytes: float | None) -> str:
    """Format megabytes as `size` does."""
    return NOTHING if megabytes is None else size(megabytes * 1e6)


def milliseconds(value: float | None) -> str:
    """Format milliseconds with three significant digits."""
    return NOTHING if value is None else f"{value:.3g}"


def rate(value: float | None) -> str:
    """Format a learning rate: 0.0005 -> '5e-4'."""
    if value is None:
        return NOTHING
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
