"""From features of stories to brain activity: pure functions on arrays, times in seconds."""
