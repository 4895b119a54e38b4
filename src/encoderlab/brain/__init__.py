"""Predict brain activity from the words of stories."""
