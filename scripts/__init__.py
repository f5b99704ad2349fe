"""Command lines over the harness: ``python scripts/x.py`` or ``python -m scripts.x``."""
