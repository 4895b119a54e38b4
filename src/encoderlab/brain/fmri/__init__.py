"""Recordings: alignment, responses, scores, significance. Pure functions on arrays, times in seconds."""
