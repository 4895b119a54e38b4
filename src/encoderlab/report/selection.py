"""The limits of the scores of a page: which rows chose what, and the smallest difference that the study detects."""

from __future__ import annotations

from encoderlab.report import text
from encoderlab.results.table import Table


def sentences(table: Table) -> list[str]:
    """Return what was chosen on the validation rows, what on the test rows, and which set chose nothing."""
    choice, confirmed = table.recommendation, table.confirmed
    sampled = any(one.is_sampled for one in table.searches)
    tried = any(len(one.tried) > 1 for one in table.searches)
    what = "Settings and epochs" if sampled else "Learning rates and epochs" if tried else "Epochs"
    lines = [f"{what} were chosen on the validation rows."]
    if choice is not None:
        trained = sum(row.is_trained and row.seeds > 0 for row in table.summary)
        if trained > len(choice.finalists):
            lines.append(
                "The recommendation considers one variant of each method, which was also chosen on the validation rows."
            )
        if len(choice.finalists) > 1:
            lines.append("The recommended method itself was chosen on the test rows.")
    if confirmed is not None and len(confirmed.winners) < 2:
        lines.append(f"No choice used {confirmed.set}, which scores the recommended method alone.")
    return lines


def power(table: Table) -> str:
    """Return the smallest difference that the study detects, and from what it follows. Empty if it is unknown."""
    found, metric, groups = table.power, table.metric, table.groups
    if found is None:
        return ""
    unit = " points" if metric.percent else ""
    least, rows, seeds = (text.score(one, metric, 1) for one in (found.least, found.row_se, found.seed_sd))
    inside = "" if groups is None else f" in {text.count(groups.count)} groups"
    return (
        f"With {text.count(found.rows)} test rows{inside} and {found.seeds} seeds, this study detects a true "
        f"difference of {least}{unit} between two methods with 80 % power (two-sided test at the 5 % level; measured: "
        f"standard error over test rows {rows}{unit}, standard deviation between seeds {seeds}{unit})."
    )
