"""A pretrained encoder: how it is loaded, and the fast forms of its parts.

Public: `load.load`, `encoder.EncoderModel`, `families.FAMILIES`.
"""
