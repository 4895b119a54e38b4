"""Run an encoding study, from its file to its page."""
