"""Use a tuned encoder: load a run, predict, evaluate, export."""
