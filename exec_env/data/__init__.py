"""Recorded markets: reading, checking and slicing files, and playing them as a tape."""
