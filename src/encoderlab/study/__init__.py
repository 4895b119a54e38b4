"""Many runs: what a study needs done, and its commands.

Public: `compare.compare`, `train.train`, `check.check`, `estimate.estimate`, `inspect.inspect`, `demo.run`.
"""
