"""Walking a recorded order book: what shares cost that are taken level by level."""

from typing import Any

from exec_env.base.namespace import namespace


def walking_cost(levels: Any, v: Any) -> Any:
    """What walking the book costs beyond the touch: each level's distance on the shares taken there. [$]

    Beyond the last level the book goes on with its average slope, the last distance over all shares before it, so that
    the cost is convex all along.

    Args:
        levels: pairs of size [shares] and distance from the touch [$], distances not falling; some size above zero.
        v: shares taken, not negative.
    """
    smaller = namespace(v).minimum
    left, cost, depth, distance = v, 0.0, 0.0, 0.0
    for size, distance in levels:
        taken = smaller(left, size)
        cost = cost + distance * taken
        left = left - taken
        depth = depth + size
    return cost + distance * left * (1.0 + 0.5 * left / depth)
