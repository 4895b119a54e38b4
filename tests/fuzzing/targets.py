"""Every kind of file that is fuzzed, by name."""

from __future__ import annotations

from . import adapters, models, pickles, stories, tables, words

TARGETS = {
    **tables.TARGETS,
    **stories.TARGETS,
    **words.TARGETS,
    **pickles.TARGETS,
    **adapters.TARGETS,
    **models.TARGETS,
}
