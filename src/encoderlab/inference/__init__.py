"""Use a tuned encoder: load a run, predict, evaluate, export.

Public: `load_run.load_run`, `predict.predict`, `evaluate.evaluate`, `export.export`.
"""
