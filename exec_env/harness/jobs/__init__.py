"""Tasks in one process or on a Ray cluster, with the same outcome."""
