"""Study files: read into frozen dataclasses, or refused with every problem at once.

Public: `load.load`, `settings.Study`.
"""
