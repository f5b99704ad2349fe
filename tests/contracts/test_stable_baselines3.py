"""Stable-Baselines3 and sb3-contrib: algorithms learn from the native environment and from Gymnasium's own ways.

What a step of the adapter gives is compared with their own vector environments in ``tests/test_sb3.py``.
"""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import exec_env
from exec_env.envs.sb3 import SB3VecEnv

pytest.importorskip("stable_baselines3")
contrib = pytest.importorskip("sb3_contrib")

from stable_baselines3 import A2C, SAC, TD3  # noqa: E402
from stable_baselines3.common.env_util import make_vec_env  # noqa: E402
from stable_baselines3.common.evaluation import evaluate_policy  # noqa: E402

pytestmark = pytest.mark.stable_baselines3

SMALL: dict[str, Any] = {"n_steps": 5, "shares": 25_000.0}
LEVELS = [0.0, 0.5, 1.0, 1.5]
"""Paces of which none sells everything before the last slice."""
PACE, FRACTION = "AlmgrenChriss-v0", "AlmgrenChrissContinuous-v0"
REPLAY: dict[str, Any] = {"learning_starts": 64, "buffer_size": 1000}
CASES = {
    "a2c": (A2C, "MlpPolicy", PACE, {}),
    "a2c-continuous": (A2C, "MlpPolicy", FRACTION, {}),
    "sac": (SAC, "MlpPolicy", FRACTION, REPLAY),
    "td3": (TD3, "MlpPolicy", FRACTION, REPLAY),
    "tqc": (contrib.TQC, "MlpPolicy", FRACTION, REPLAY),
    "recurrent-ppo": (contrib.RecurrentPPO, "MlpLstmPolicy", PACE, {"n_steps": 8, "batch_size": 32}),
    "recurrent-ppo-continuous": (contrib.RecurrentPPO, "MlpLstmPolicy", FRACTION, {"n_steps": 8, "batch_size": 32}),
}


def options(env_id: str) -> dict[str, Any]:
    return SMALL | ({"levels": LEVELS} if env_id == PACE else {})


def native(env_id: str) -> Any:
    return SB3VecEnv(env_id, num_envs=4, **options(env_id))


def singles(env_id: str) -> Any:
    return make_vec_env(f"{exec_env.__name__}:{env_id}", n_envs=4, seed=0, env_kwargs=options(env_id))


@pytest.mark.parametrize("make", [native, singles])
@pytest.mark.parametrize("case", CASES)
def test_an_algorithm_learns_a_few_steps_of_whole_episodes(case: str, make: Any) -> None:
    algorithm, policy, env_id, settings = CASES[case]
    model = algorithm(policy, make(env_id), seed=0, device="cpu", **settings)
    before = [p.clone() for p in model.policy.parameters()]
    model.learn(128)
    assert any((p != q).any() for p, q in zip(model.policy.parameters(), before, strict=True))
    lengths = [episode["l"] for episode in model.ep_info_buffer]
    assert lengths
    assert max(lengths) <= 5
    if env_id == PACE:
        assert set(lengths) == {5}


def test_a_model_acts_alike_in_both() -> None:
    model = A2C("MlpPolicy", native(PACE), seed=0, device="cpu").learn(128)
    results = []
    for env in (native(PACE), singles(PACE)):
        env.seed(1)
        with warnings.catch_warnings():
            results.append(evaluate_policy(model, env, n_eval_episodes=20, return_episode_rewards=True))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)


def test_an_environment_of_gymnasium_in_another_mode_is_not_taken_in_silence() -> None:
    with pytest.raises(ValueError, match="autoreset_mode = NEXT_STEP: must be SAME_STEP"):
        SB3VecEnv(gym.make_vec(PACE, num_envs=2))
