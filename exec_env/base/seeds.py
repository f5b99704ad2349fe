"""Seeds that share no random number by accident."""

import numpy as np


def child_seed(seed: int, *stream: int) -> int:
    """A seed of its own for each purpose, far from its neighbours' so that no path is shared by accident."""
    return int(np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)[0] >> 1)
