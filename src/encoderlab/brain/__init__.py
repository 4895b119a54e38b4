"""Predict brain activity from stories."""
