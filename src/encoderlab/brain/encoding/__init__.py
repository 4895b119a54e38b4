"""Run an encoding study, from its file to its page.

Public: `load.load`, `encode.encode`, `embed.embed`, `check.check`.
"""
