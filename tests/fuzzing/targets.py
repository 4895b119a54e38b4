"""Every kind of file that is fuzzed, by name."""

from __future__ import annotations

from . import models, stories, tables

TARGETS = {**tables.TARGETS, **stories.TARGETS, **models.TARGETS}
