"""Studies over many runs: results over seeds, tuning, stress tests, offline learning."""
