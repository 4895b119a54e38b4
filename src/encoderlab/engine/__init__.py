"""Run a model over rows: packed batches, frozen layers computed once, devices and processes."""
