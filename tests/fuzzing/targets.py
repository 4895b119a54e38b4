"""Every kind of file that is fuzzed, by name."""

from __future__ import annotations

from . import adapters, models, pickles, stories, tables

TARGETS = {**tables.TARGETS, **stories.TARGETS, **pickles.TARGETS, **adapters.TARGETS, **models.TARGETS}
