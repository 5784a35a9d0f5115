"""Removing sessions so that nothing is left behind and nothing is lost, and bringing them back."""
