"""Which rows chose what: the sentences that say how far the scores of a page are free of selection."""

from __future__ import annotations

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
