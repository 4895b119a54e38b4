"""One run: the loop, its checkpoints, its folder and its record."""
