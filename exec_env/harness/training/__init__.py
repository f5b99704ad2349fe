"""Training: settings, the loop that every learner shares, weights on disk."""
