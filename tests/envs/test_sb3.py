"""The adapter to Stable-Baselines3 gives what its own DummyVecEnv of single environments gives, and plugs in."""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from sb3_contrib import QRDQN, TRPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize

from exec_env import ENVIRONMENTS, ActionMode
from exec_env.envs.sb3 import SB3Agent, SB3VecEnv
from exec_env.harness import evaluate

SMALL: dict[str, Any] = {"n_steps": 5, "shares": 25_000.0}
N = 6


def both(env_id: str, **options: Any) -> tuple[SB3VecEnv, DummyVecEnv]:
    ours = SB3VecEnv(env_id, num_envs=N, **options)
    return ours, DummyVecEnv([lambda: Monitor(gym.make(env_id, **options))] * N)


def actions(space: spaces.Space, rng: np.random.Generator) -> np.ndarray:
    """Random actions; one continuous one in five takes the most, so that some episodes are over early."""
    if isinstance(space, spaces.Box):
        drawn = rng.uniform(0.0, space.high, (N, 1)).astype(np.float32)
        return np.where(rng.random((N, 1)) < 0.2, space.high, drawn)
    assert isinstance(space, spaces.Discrete)
    return rng.integers(space.n, size=N)


def play(env: VecEnv, seed: int | None, steps: int = 60) -> list[Any]:
    if seed is not None:
        env.seed(seed)
    rng, out = np.random.default_rng(0), [env.reset()]
    for _ in range(steps):
        out += env.step(actions(env.action_space, rng))[:3]
    return out


# What a step gives


@pytest.mark.slow
@pytest.mark.parametrize("side", ["sell", "buy"])
@pytest.mark.parametrize("env_id", ["AlmgrenChriss-v0", "AlmgrenChrissContinuous-v0"])
def test_a_step_gives_what_it_gives_with_single_environments(env_id: str, side: str, rich: dict[str, Any]) -> None:
    ours, theirs = both(env_id, n_steps=7, side=side, max_participation=None, smoothness_penalty=1.0, **rich)
    for env in (ours, theirs):
        env.seed(3)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    rng, endings, early = np.random.default_rng(0), 0, 0
    for _ in range(80):
        chosen = actions(theirs.action_space, rng)
        (observed, rewards, dones, infos), expected = ours.step(chosen), theirs.step(chosen)
        np.testing.assert_allclose(observed, expected[0], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(rewards, expected[1], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(dones, expected[2])
        assert (observed.dtype, rewards.dtype, dones.dtype) == tuple(e.dtype for e in expected[:3])
        for done, info, other in zip(dones, infos, expected[3], strict=True):
            if not done:
                assert info == {}
                continue
            assert set(info) == set(other)
            np.testing.assert_allclose(info.pop("terminal_observation"), other.pop("terminal_observation"), rtol=1e-6)
            episode, monitored = info.pop("episode"), other.pop("episode")
            assert episode["r"] == pytest.approx(monitored["r"], rel=1e-9, abs=1e-6)
            assert episode["l"] == monitored["l"]
            assert info == pytest.approx(other, rel=1e-9, abs=1e-9)
            assert info["TimeLimit.truncated"] is False
            assert all(isinstance(value, int | float) for value in info.values())
            endings, early = endings + 1, early + (episode["l"] < 7)
    assert endings > 10 * N
    assert early > N


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_spaces_shapes_and_types_are_those_of_single_environments(env_id: str) -> None:
    ours, theirs = both(env_id)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    for vec in (ours, theirs):
        vec.seed(0)
        assert vec.reset().shape == (N, *gym.make(env_id).observation_space.shape)
        assert vec.reset().dtype == np.float32


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_single_environments_pass_the_checker_which_would_only_prefer_symmetric_actions(env_id: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(gym.make(env_id), warn=True)
    said = [str(w.message) for w in caught]
    # [0, 1] says what the action is; PPO here is log-normal, and the library rescales actions for SAC and TD3 itself.
    assert all("symmetric and normalized Box action space" in text for text in said), said


@pytest.mark.long
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    def run(seed: int) -> bytes:
        return b"".join(a.tobytes() for a in play(SB3VecEnv("AlmgrenChriss-v0", num_envs=N, **SMALL), seed))

    assert run(1) == run(1) != run(2)


def test_a_seed_counts_once_and_the_next_reset_goes_on() -> None:
    ours, theirs = both("AlmgrenChriss-v0", **SMALL)
    for env in (ours, theirs):
        env.seed(8)
    resets = [(ours.reset(), theirs.reset()) for _ in range(3)]
    for mine, other in resets:
        np.testing.assert_array_equal(mine, other)
    assert len({mine.tobytes() for mine, _ in resets}) == 3
    assert ours.seed(4) == [4 + i for i in range(N)]


def test_what_was_returned_is_never_changed_later() -> None:
    env = SB3VecEnv("AlmgrenChriss-v0", num_envs=N, **SMALL)
    kept = play(env, 0)
    copies = [a.copy() for a in kept]
    play(env, None)
    for one, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(one, copy)


def test_hundreds_of_environments_begin_as_the_first_few_do() -> None:
    many, few = SB3VecEnv("AlmgrenChriss-v0", num_envs=700), SB3VecEnv("AlmgrenChriss-v0", num_envs=3)
    for env in (many, few):
        env.seed(2)
        env.reset()
    for t in range(45):
        a, b = many.step(np.full(700, t % 11)), few.step(np.full(3, t % 11))
        np.testing.assert_allclose(a[0][:3], b[0], rtol=1e-6)
        np.testing.assert_allclose(a[1][:3], b[1], rtol=1e-6)
        assert [bool(info) for info in a[3]] == a[2].tolist()


# Under the library's wrappers and helpers


def test_vec_monitor_counts_the_same_episodes() -> None:
    with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):  # it is not needed
        env = VecMonitor(SB3VecEnv("AlmgrenChriss-v0", num_envs=N, **SMALL))
    env.seed(0)
    env.reset()
    alone = SB3VecEnv("AlmgrenChriss-v0", num_envs=N, **SMALL)
    alone.seed(0)
    alone.reset()
    for _ in range(12):
        infos, others = env.step(np.full(N, 4))[3], alone.step(np.full(N, 4))[3]
        for info, other in zip(infos, others, strict=True):
            assert ("episode" in info) == ("episode" in other)
            if info:
                assert info["episode"]["r"] == pytest.approx(other["episode"]["r"], rel=1e-5)
                assert info["episode"]["l"] == other["episode"]["l"] == 5


def test_vec_normalize_gives_what_it_gives_with_single_environments() -> None:
    runs = [play(VecNormalize(env, gamma=1.0), 5) for env in both("AlmgrenChrissContinuous-v0", **SMALL)]
    for mine, other in zip(*runs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


def test_evaluate_policy_gives_the_episodes_of_single_environments() -> None:
    ours, theirs = both("AlmgrenChriss-v0", **SMALL)
    model = A2C("MlpPolicy", ours, seed=0, device="cpu")
    results = []
    for env in (ours, theirs):
        env.seed(1)
        results.append(evaluate_policy(model, env, n_eval_episodes=20, return_episode_rewards=True))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    assert results[0][1] == results[1][1]


def test_attributes_are_shared_and_cannot_be_set() -> None:
    env = SB3VecEnv("AlmgrenChrissContinuous-v0", num_envs=N, **SMALL)
    assert env.get_attr("mode") == [ActionMode("fraction")] * N
    assert env.get_attr("mode", indices=[1, 3]) == [ActionMode("fraction")] * 2
    assert [order.n_steps for order in env.get_attr("order", indices=0)] == [5]
    assert env.env_is_wrapped(Monitor) == [True] * N
    assert env.env_is_wrapped(gym.wrappers.TimeLimit, indices=[0]) == [False]
    assert env.render_mode is None
    assert not env.has_attr("sharse")
    for refused in (lambda: env.set_attr("order", 1), lambda: env.env_method("reset")):
        with pytest.raises(AttributeError) as caught:
            refused()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: SB3VecEnv(gym.make_vec("AlmgrenChriss-v0")),
            "autoreset_mode = NEXT_STEP: must be SAME_STEP",
        ),
        (lambda: SB3VecEnv("AlmgrenChriss-v0", autoreset_mode=AutoresetMode.DISABLED), "autoreset_mode = DISABLED"),
        (lambda: SB3VecEnv("CartPole-v1", num_envs=2), "environment 'CartPole-v1': is not one of exec_env"),
        (
            lambda: SB3VecEnv(gym.make_vec("AlmgrenChriss-v0", vectorization_mode="sync")),
            "not the native vector environment of exec_env",
        ),
        (
            lambda: SB3VecEnv(gym.wrappers.vector.TransformReward(gym.make_vec("AlmgrenChriss-v0"), lambda r: 2 * r)),
            "TransformReward.*: not the native vector environment of exec_env",
        ),
        (
            lambda: SB3VecEnv(gym.make_vec("AlmgrenChriss-v0"), side="buy"),
            "options side: go with an id, not with an environment that exists",
        ),
        (
            lambda: SB3VecEnv("AlmgrenChriss-v0", sharse=1),
            "unexpected keyword argument 'sharse'; did you mean",
        ),
        (lambda: SB3VecEnv("AlmgrenChriss-v0", num_envs=0), "num_envs = 0: must be a whole number >= 1"),
        (
            lambda: SB3VecEnv("AlmgrenChriss-v0").set_options({"start": 3}),
            "reset options {'start': 3}: there are none",
        ),
    ],
)
def test_what_cannot_be_adapted_is_refused_in_one_sentence(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


# Algorithms plug in


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "env_id", "settings"),
    [
        (A2C, "AlmgrenChriss-v0", {}),
        (TRPO, "AlmgrenChrissContinuous-v0", {"n_steps": 8, "batch_size": 64}),
        (DQN, "AlmgrenChriss-v0", {"learning_starts": 64, "buffer_size": 1000, "target_update_interval": 64}),
        (QRDQN, "AlmgrenChriss-v0", {"learning_starts": 64, "buffer_size": 1000, "target_update_interval": 64}),
        (SAC, "AlmgrenChrissContinuous-v0", {"learning_starts": 64, "buffer_size": 1000}),
        (TD3, "AlmgrenChrissContinuous-v0", {"learning_starts": 64, "buffer_size": 1000}),
    ],
)
def test_an_algorithm_plugs_in_and_is_evaluated_beside_twap(
    algorithm: Any, env_id: str, settings: dict[str, Any]
) -> None:
    env = SB3VecEnv(env_id, num_envs=16, **SMALL)
    model = algorithm("MlpPolicy", env, seed=0, device="cpu", **settings).learn(256)
    agent = SB3Agent(model)
    table = evaluate([agent, "twap"], episodes=100, **SMALL).per_agent
    assert set(table.index) == {algorithm.__name__.lower(), "twap"}
    assert np.isfinite(table["objective_mean"]).all()
    assert agent.action_mode == env.get_attr("mode")[0]


@pytest.mark.slow
def test_learning_depends_on_the_seed_alone() -> None:
    def learned() -> dict[str, torch.Tensor]:
        env = SB3VecEnv("AlmgrenChriss-v0", num_envs=16, **SMALL)
        return A2C("MlpPolicy", env, seed=7, device="cpu").learn(320).policy.state_dict()

    one, again = learned(), learned()
    assert all(torch.equal(one[k], again[k]) for k in one)


@pytest.mark.slow
def test_a_model_that_normalises_sees_normalised_observations_as_an_agent_too() -> None:
    env = VecNormalize(SB3VecEnv("AlmgrenChriss-v0", num_envs=16, **SMALL))
    model = A2C("MlpPolicy", env, seed=0, device="cpu").learn(320)
    observations = env.get_original_obs()
    statistics = env.obs_rms.count
    seen = env.normalize_obs(observations)
    assert not np.allclose(seen, observations)
    agent = SB3Agent(model)
    np.testing.assert_array_equal(agent.act(observations), model.predict(seen, deterministic=True)[0])
    evaluate([agent], episodes=20, **SMALL)
    assert env.obs_rms.count == statistics  # to act is not to learn
    assert agent.action_mode == ActionMode("pace")


def test_the_action_mode_is_the_environments_also_of_a_single_one_unless_it_is_named() -> None:
    single = A2C("MlpPolicy", gym.make("AlmgrenChriss-v0", action="participation-levels"), device="cpu")
    assert SB3Agent(single).action_mode == ActionMode("participation-levels")
    assert SB3Agent(single, "pace").action_mode == ActionMode("pace")
    with pytest.raises(ValueError, match="unknown action 'pase'; did you mean 'pace'"):
        SB3Agent(single, "pase")


def test_a_model_without_an_environment_of_ours_needs_its_action_mode_named(tmp_path: Any) -> None:
    env = SB3VecEnv("AlmgrenChriss-v0", num_envs=2)
    PPO("MlpPolicy", env, n_steps=8, batch_size=16, device="cpu").save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", device="cpu")
    for model in (loaded, A2C("MlpPolicy", "CartPole-v1", device="cpu")):
        with pytest.raises(ValueError, match="action_mode: the model has no environment of exec_env"):
            SB3Agent(model)
    assert SB3Agent(loaded, "pace").act(env.reset()).shape == (2,)
