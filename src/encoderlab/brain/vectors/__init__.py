"""Turn words into vectors: static, contextual, or looked up in a file."""
