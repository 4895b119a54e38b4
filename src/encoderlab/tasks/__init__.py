"""What rows mean: one file per task. `registry.TASKS` is the only list of them.

Public: `registry.TASKS`, `base.Task`, `metric.Metric`.
"""
