"""Datasets of recorded episodes, for learning without an environment."""
