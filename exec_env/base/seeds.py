"""Seeds that share no random number by accident."""

import numpy as np


def child_seed(seed: int, *stream: int) -> int:
    """A seed of its own for each purpose, far from its neighbours' so that no path is shared by accident."""
    return int(np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)[0] >> 1)


def block_rng(seed: int, k: int) -> np.random.Generator:
    """What block ``k`` of the paths of a seed is drawn from, whichever other blocks are drawn."""
    return np.random.default_rng(np.random.SeedSequence([seed, k]))
