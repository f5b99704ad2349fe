"""The rollout is the environment in lockstep: same paths, same actions, same costs."""

import gymnasium as gym
import numpy as np
import pytest

from exec_env.market.execution import bps
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import ActionMode
from tests.conftest import play
from tests.rollouts import executed


@pytest.mark.parametrize("action", ["pace", "participation", "fraction", "shares"])
@pytest.mark.parametrize("side", ["sell", "buy"])
def test_a_rollout_costs_what_the_environment_says_path_by_path(action: str, side: str, rich: dict) -> None:
    env = gym.make("AlmgrenChriss-v0", action=action, side=side, **rich).unwrapped
    paths = Paths.simulate(env.market, env.order, 20, seed=2)
    mode = ActionMode(action)
    high = 10 if mode.is_discrete else mode.high(env.order)

    def act(observations: np.ndarray) -> np.ndarray:
        wild = np.abs(np.sin(7 * observations[:, 2] + 3 * observations[:, 0]))
        return np.floor(wild * 10.99).astype(int) if mode.is_discrete else (high * wild / 4)[:, None]

    steps = list(executed(act, paths, env.market, env.order, mode))
    shortfall = sum(s.fill.shortfall for s in steps) * bps(env.order.shares * paths.arrival_price)
    objective = sum(s.fill.objective for s in steps) * bps(env.order.shares * paths.arrival_price)
    for e in range(paths.n_paths):
        episode = play(env, lambda o: act(o[None])[0], seed=2 if e == 0 else None)
        assert episode[-1]["shortfall_bps"] == pytest.approx(shortfall[e], rel=1e-6)
        assert episode[-1]["objective_bps"] == pytest.approx(objective[e], rel=1e-6)
