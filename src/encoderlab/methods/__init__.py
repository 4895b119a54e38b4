"""How an encoder becomes trainable: one file per method. `registry.METHODS` is the only list of them.

Public: `registry.METHODS`, `base.Method`.
"""
