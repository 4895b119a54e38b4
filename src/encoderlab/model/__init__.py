"""A pretrained encoder: how it is loaded, and the fast forms of its parts."""
