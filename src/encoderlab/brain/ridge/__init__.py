"""Fit ridge regressions to many voxels, and score them on held-out stories.

Public: `ridge.Ridge`, `banded.banded_ridge`.
"""
