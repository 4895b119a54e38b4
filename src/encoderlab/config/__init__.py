"""A study file becomes frozen dataclasses, or every problem of it at once."""
