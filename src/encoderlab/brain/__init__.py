"""From word vectors to brain responses: alignment, ridge, scores, significance; arrays in, arrays out."""
