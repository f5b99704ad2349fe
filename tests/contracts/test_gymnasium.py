"""Gymnasium's own wrappers and vector environments, and what it does with an id."""

import copy
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as wrappers
from packaging.version import Version

from exec_env.envs.vector import ExecutionVectorEnv

pytestmark = pytest.mark.gymnasium

SMALL: dict[str, Any] = {"n_steps": 5, "shares": 25_000.0, "levels": [0.0, 0.5, 1.0, 1.5]}
"""No pace sells everything before the last slice."""
N = 4


def native(**options: Any) -> Any:
    return gym.make_vec("AlmgrenChriss-v0", num_envs=N, **SMALL | options)


def single(**options: Any) -> gym.Env:
    return gym.make("AlmgrenChriss-v0", **SMALL | options)


def played(env: Any, steps: int = 40, seed: int = 3) -> list[tuple[np.ndarray, ...]]:
    """First observations, then what each step gives, but its information."""
    out = [(env.reset(seed=seed)[0],)]
    for t in range(steps):
        out.append(env.step((np.arange(N) + 3 * t) % 4)[:4])
    return out


def assert_same(one: list[tuple[np.ndarray, ...]], other: list[tuple[np.ndarray, ...]], rtol: float = 1e-6) -> None:
    for ours, theirs in zip(one, other, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)


# Vector environments


def test_the_native_environment_is_synchronised_single_ones_path_by_path_as_both_are_made() -> None:
    ours, theirs = native(), SyncVectorEnv([single] * N)
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    assert ours.unwrapped.autoreset_mode == AutoresetMode.NEXT_STEP
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert_same(played(ours), played(theirs))


@pytest.mark.slow
def test_processes_play_the_same_paths() -> None:
    theirs = AsyncVectorEnv([single] * N)
    try:
        assert_same(played(theirs), played(native()))
    finally:
        theirs.close()


@pytest.mark.parametrize("mode", ["sync", pytest.param("async", marks=pytest.mark.slow)])
def test_make_vec_gives_the_same_paths_in_its_other_modes(mode: str) -> None:
    theirs = gym.make_vec("exec_env:AlmgrenChriss-v0", num_envs=N, vectorization_mode=mode, **SMALL)
    try:
        assert_same(played(theirs), played(native()))
    finally:
        theirs.close()


# Vector wrappers

OBSERVERS: dict[str, Callable[[Any], Any]] = {
    "normalise": wrappers.NormalizeObservation,
    "rescale": lambda env: wrappers.RescaleObservation(env, -1.0, 1.0),
    "flatten": wrappers.FlattenObservation,
    "dtype": lambda env: wrappers.DtypeObservation(env, np.float64),
    "transform": lambda env: wrappers.TransformObservation(env, lambda o: 2 * o, None, None),
    "normalise-reward": wrappers.NormalizeReward,
    "clip-reward": lambda env: wrappers.ClipReward(env, -1.0, 0.0),
}


@pytest.mark.filterwarnings("ignore:.*precision lowered", "ignore:overflow encountered in cast")  # of its spaces
@pytest.mark.parametrize("name", OBSERVERS)
def test_a_vector_wrapper_does_around_the_native_environment_what_it_does_around_single_ones(name: str) -> None:
    wrap = OBSERVERS[name]
    ours, theirs = wrap(native()), wrap(SyncVectorEnv([single] * N))
    assert ours.observation_space == theirs.observation_space
    one, other = played(ours), played(theirs)
    assert_same(one, other, rtol=1e-4)
    assert all(o[0].dtype == ours.observation_space.dtype for o in one)


miscounts = pytest.mark.skipif(Version(gym.__version__) < Version("1.4"), reason="it counts a step too few there")


@pytest.mark.parametrize("mode", ["NEXT_STEP", pytest.param("SAME_STEP", marks=miscounts)])
def test_statistics_of_episodes_are_those_of_single_environments(mode: str) -> None:
    env = wrappers.RecordEpisodeStatistics(native(autoreset_mode=mode))
    alone = gym.wrappers.RecordEpisodeStatistics(single())
    env.reset(seed=3)
    alone.reset(seed=3)
    found: list[tuple[float, int]] = []
    for _ in range(24):
        info = env.step(np.full(N, 3))[4]
        final = info.get("final_info", info)
        if "episode" in info and info["_episode"][0]:
            found.append((info["episode"]["r"][0], info["episode"]["l"][0]))
            assert final["_objective_bps"][0]
    expected = []
    while len(expected) < len(found):
        *_, over, _, info = alone.step(3)
        if over:
            expected.append((info["episode"]["r"], info["episode"]["l"]))
            alone.reset()
    assert len(found) == 4
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert {length for _, length in found} == {5}
    assert env.episode_count == 4 * N


def test_information_as_a_list_has_the_last_steps_totals() -> None:
    env = wrappers.DictInfoToList(native())
    env.reset(seed=0)
    for _ in range(5):
        infos = env.step(np.full(N, 2))[4]
    assert [set(info) >= {"objective_bps", "shortfall_bps"} for info in infos] == [True] * N


def test_single_wrappers_come_with_make_vec_where_gymnasium_takes_them() -> None:
    """The native environment has no single environments to wrap: Gymnasium says so, and has the other modes."""
    wrap = [lambda env: gym.wrappers.TransformReward(env, lambda r: 2 * r), gym.wrappers.RecordEpisodeStatistics]
    with pytest.raises(gym.error.Error, match="Cannot use `vector_entry_point` vectorization mode with the wrappers"):
        native(wrappers=wrap)
    doubled = gym.make_vec("AlmgrenChriss-v0", num_envs=N, vectorization_mode="sync", wrappers=wrap, **SMALL)
    for ours, theirs in zip(played(native())[1:], played(doubled)[1:], strict=True):
        np.testing.assert_allclose(2 * ours[1], theirs[1], rtol=1e-6)


# Single wrappers and ids


@pytest.mark.parametrize("env_id", ["AlmgrenChriss-v0", "AlmgrenChrissContinuous-v0"])
def test_an_id_passes_gymnasiums_checker(env_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(f"exec_env:{env_id}").unwrapped)


def test_single_wrappers_stack() -> None:
    env: Any = gym.wrappers.FrameStackObservation(gym.wrappers.NormalizeObservation(single(max_episode_steps=9)), 3)
    env = gym.wrappers.TimeAwareObservation(gym.wrappers.FlattenObservation(env))
    env.action_space.seed(0)
    seen, _ = env.reset(seed=0)
    over = False
    while not over:
        assert env.observation_space.contains(seen.astype(env.observation_space.dtype))
        seen, _, over, _, _ = env.step(env.action_space.sample())


@pytest.mark.slow
def test_a_video_has_a_picture_of_every_slice(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library that writes it
        env = gym.wrappers.RecordVideo(single(render_mode="rgb_array"), str(tmp_path), episode_trigger=lambda _: True)
        env.reset(seed=0)
        for _ in range(5):
            env.step(2)
        assert len(env.recorded_frames) == 6
        env.close()
    (video,) = tmp_path.glob("*.mp4")
    assert video.stat().st_size > 1000


@pytest.mark.parametrize("make", [gym.make, lambda *a, **k: gym.make_vec(*a, num_envs=2, **k)])
def test_a_specification_with_numpys_numbers_is_json_and_makes_the_same_environment(make: Any) -> None:
    options = {"n_steps": np.int64(5), "shares": np.float64(25_000.0), "volatility": np.float32(0.02)}
    env = make("AlmgrenChriss-v0", **options, levels=np.array([0.0, 1.0, 2.0]))
    text = env.spec.to_json()
    kwargs = json.loads(text)["kwargs"]
    assert (kwargs["n_steps"], kwargs["shares"], kwargs["levels"]) == (5, 25_000.0, [0.0, 1.0, 2.0])
    spec = gym.envs.registration.EnvSpec.from_json(text)
    again = gym.make(spec) if make is gym.make else gym.make_vec(spec)
    assert again.unwrapped.order == env.unwrapped.order
    assert again.unwrapped.market == env.unwrapped.market
    np.testing.assert_array_equal(again.reset(seed=1)[0], env.reset(seed=1)[0])


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("make", [single, native])
def test_a_copy_goes_on_alike(make: Any, duplicate: Any) -> None:
    env = make()
    action = 2 if make is single else np.full(N, 2)
    env.reset(seed=3)
    env.step(action)
    twin = duplicate(env)
    for _ in range(3):
        for ours, theirs in zip(env.step(action)[:2], twin.step(action)[:2], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_an_id_with_its_module_gives_both_environments() -> None:
    assert gym.make("exec_env:AlmgrenChriss-v0", **SMALL).unwrapped.spec is not None
    assert isinstance(gym.make_vec("exec_env:AlmgrenChriss-v0", num_envs=2).unwrapped, ExecutionVectorEnv)


def test_an_unknown_option_is_a_type_error_in_pythons_words_with_the_nearest_name() -> None:
    for make in (gym.make, gym.make_vec):
        with pytest.raises(TypeError, match="got an unexpected keyword argument 'sharse'.*'shares'"):
            make("AlmgrenChriss-v0", sharse=3)
