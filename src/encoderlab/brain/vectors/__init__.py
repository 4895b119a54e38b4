"""Turn words into vectors: static, contextual, or looked up in a file.

Public: `contextual.word_vectors`, `feature_spaces.open_spaces`.
"""
