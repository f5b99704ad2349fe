"""Command lines over the harness: ``exec-env NAME``, or ``python scripts/NAME.py`` in a checkout."""
