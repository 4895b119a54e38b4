"""Run a model over rows: packed batches, frozen layers computed once, devices and processes.

Public: `runner.ModelRunner`, `logits.logits`, `batches.pack`, `device.choose_device`.
"""
