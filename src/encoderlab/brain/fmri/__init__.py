"""Work with fMRI recordings: alignment, responses, scores, significance. Functions on arrays, times in seconds."""
