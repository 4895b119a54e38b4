"""Words become vectors: static, contextual, from a file."""
