"""Read stories: words with times, from every file format that laboratories keep them in.

Public: `read.read`, `story.Story`.
"""
