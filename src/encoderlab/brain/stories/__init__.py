"""Words with times, from every form they come in."""
