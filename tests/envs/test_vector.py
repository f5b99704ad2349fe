"""The native vector environment agrees with single ones, path by path, in every autoreset mode."""

import copy
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from exec_env.base.errors import InputError
from exec_env.envs import paths_ahead as ahead
from exec_env.envs.vector import ExecutionVectorEnv

N = 7


def both(mode: AutoresetMode, env_id: str = "AlmgrenChriss-v0", **kwargs: Any) -> tuple[Any, SyncVectorEnv]:
    native = gym.make_vec(env_id, num_envs=N, autoreset_mode=mode, **kwargs)
    singles = SyncVectorEnv([lambda: gym.make(env_id, **kwargs)] * N, autoreset_mode=mode)
    return native, singles


def assert_same_infos(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert {k for k in ours if ours.get(f"_{k}", np.array(True)).any()} >= set(theirs)
    for key, values in theirs.items():
        if key.startswith("_"):
            np.testing.assert_array_equal(ours[key], values, err_msg=key)
        elif key == "final_info":
            assert_same_infos(ours[key], values)
        elif key == "final_obs":
            for a, b in zip(ours[key], values, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    np.testing.assert_array_equal(a, b)
        else:
            mask = theirs[f"_{key}"]
            np.testing.assert_allclose(
                np.asarray(ours[key], float)[mask], values[mask].astype(float), rtol=1e-9, atol=1e-9, err_msg=key
            )


@pytest.mark.slow
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
@pytest.mark.parametrize("action", ["pace", "fraction"])
@pytest.mark.parametrize("side", ["sell", "buy"])
def test_it_does_what_synchronised_single_environments_do(
    mode: AutoresetMode, action: str, side: str, rich: dict
) -> None:
    native, singles = both(mode, action=action, side=side, n_steps=9, reward="shortfall", **rich)
    ours, theirs = native.reset(seed=3), singles.reset(seed=3)
    np.testing.assert_array_equal(ours[0], theirs[0])
    singles.action_space.seed(0)
    endings = 0
    for _ in range(120):
        actions = singles.action_space.sample()
        if action == "fraction":
            actions = np.where(actions > 0.8, np.float32(1.0), actions)  # some finish early
        ours, theirs = native.step(actions), singles.step(actions)
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(ours[2], theirs[2])
        np.testing.assert_array_equal(ours[3], theirs[3])
        assert_same_infos(ours[4], theirs[4])
        endings += int(ours[2].sum())
    assert endings > N * 5


def test_disabled_autoreset_stands_still_until_a_masked_reset() -> None:
    env = gym.make_vec("AlmgrenChriss-v0", num_envs=3, n_steps=3, autoreset_mode="DISABLED")
    first, _ = env.reset(seed=0)
    for _ in range(3):
        _, _, terminated, _, infos = env.step(np.full(3, 4))
    assert terminated.all()
    assert infos["_objective_bps"].all()
    still = env.step(np.full(3, 4))
    assert (still[1] == 0).all()
    assert still[2].all()
    assert not still[4]["_spread"].any()
    for _ in range(50):
        longer = env.step(np.full(3, 4))
    np.testing.assert_array_equal(longer[0], still[0])
    assert env.observation_space.contains(longer[0])
    mask = np.array([True, False, True])
    observations, _ = env.reset(options={"reset_mask": mask})
    single = gym.make("AlmgrenChriss-v0", n_steps=3)
    single.reset(seed=2)
    np.testing.assert_allclose(observations[2], single.reset()[0], rtol=1e-6)
    np.testing.assert_array_equal(observations[1], still[0][1])
    assert not np.array_equal(observations[0], first[0])


def test_same_seed_same_bytes_and_other_seeds_other_paths() -> None:
    def run(seed: int) -> bytes:
        env = gym.make_vec("AlmgrenChriss-v0", num_envs=50)
        out = [env.reset(seed=seed)[0]]
        for t in range(90):
            step = env.step(np.full(50, t % 11))
            out += [step[0], step[1]]
        return b"".join(a.tobytes() for a in out)

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_paths_do_not_depend_on_how_many_environments_there_are() -> None:
    few, many = (gym.make_vec("AlmgrenChriss-v0", num_envs=n) for n in (3, 700))
    few.reset(seed=5)
    many.reset(seed=5)
    for t in range(100):
        a, b = few.step(np.full(3, t % 11)), many.step(np.full(700, t % 11))
        np.testing.assert_allclose(a[0], b[0][:3], rtol=1e-6)
        np.testing.assert_allclose(a[1], b[1][:3], rtol=1e-12)


def test_each_environment_can_have_its_own_seed_and_keeps_it_when_none_is_given() -> None:
    env = gym.make_vec("AlmgrenChriss-v0", num_envs=3)
    observations, _ = env.reset(seed=[8, 2, 8])
    np.testing.assert_array_equal(observations[0], observations[2])
    again, _ = env.reset(seed=[8, None, 8])
    np.testing.assert_array_equal(again[0], observations[0])
    assert not np.array_equal(again[1], observations[1])
    with pytest.raises(ValueError, match="2 seeds for 3 environments"):
        env.reset(seed=[1, 2])


def test_unseeded_environments_differ() -> None:
    one, other = (gym.make_vec("AlmgrenChriss-v0", num_envs=4).reset()[0] for _ in range(2))
    assert len(np.unique(np.concatenate([one, other])[:, 2])) == 8


def test_what_was_returned_is_never_changed_later() -> None:
    env = gym.make_vec("AlmgrenChriss-v0", num_envs=20)
    kept, copies = [], []
    observations, _ = env.reset(seed=0)
    for t in range(90):
        step = env.step(np.full(20, t % 11))
        arrays = [observations, *step[:4], *[v for v in step[4].values() if isinstance(v, np.ndarray)]]
        kept.append(arrays)
        copies.append([a.copy() for a in arrays])
        observations = step[0]
    for arrays, expected in zip(kept, copies, strict=True):
        for a, b in zip(arrays, expected, strict=True):
            if a.dtype != object:
                np.testing.assert_array_equal(a, b)


def test_errors_are_clear() -> None:
    with pytest.raises(ValueError, match="num_envs = 0: must be a whole number >= 1"):
        ExecutionVectorEnv(num_envs=0)
    with pytest.raises(ValueError, match="autoreset_mode = 'sometimes'"):
        ExecutionVectorEnv(autoreset_mode="sometimes")
    env = ExecutionVectorEnv(num_envs=2)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.array([4, 4]))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="11 is outside the space"):
        env.step(np.array([4, 11]))
    with pytest.raises(ValueError, match="reset_mask"):
        env.reset(options={"reset_mask": np.array([False, False])})


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Few sub-environments whose paths a process of its own makes, as it would for many."""
    if not ahead.can_have_helper():
        pytest.skip("needs Linux and two processors")
    monkeypatch.setattr(ahead, "_MANY", N)
    envs = ExecutionVectorEnv(N, n_steps=3)
    yield envs
    envs.close()


def played(envs: ExecutionVectorEnv, n_steps: int) -> np.ndarray:
    actions = np.arange(n_steps * N).reshape(n_steps, N) % 11
    return np.array([envs.step(a)[0] for a in actions])


def until_helped(envs: ExecutionVectorEnv) -> np.ndarray:
    """Play until the process has begun; how long that takes depends on the machine, what is played does not."""
    seen = [played(envs, 20)]
    while envs._ahead._helper is None or not envs._ahead._helper.begun:
        seen.append(played(envs, 20))
    return np.concatenate(seen)


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.slow
def test_paths_made_by_another_process_are_the_same_and_it_ends_with_the_environment(
    helped: ExecutionVectorEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = children()
    seeds = [None, 5, *[None] * (N - 2)]  # the others go on where they are
    helped.reset(seed=3)
    first = np.concatenate([until_helped(helped), played(helped, 60)])
    assert len(children() - before) == 1
    helped.reset(seed=seeds)
    second = played(helped, 60)
    helped.close()
    assert children() == before
    monkeypatch.setenv("EXEC_ENV_HELPER", "0")
    alone = ExecutionVectorEnv(N, n_steps=3)
    alone.reset(seed=3)
    # The sequence of actions begins anew every 20 steps while the helper starts.
    again = np.concatenate([*(played(alone, 20) for _ in range(len(first) // 20 - 3)), played(alone, 60)])
    np.testing.assert_array_equal(first, again)
    alone.reset(seed=seeds)
    np.testing.assert_array_equal(second, played(alone, 60))
    assert children() == before


@pytest.mark.slow
def test_copies_and_forks_of_an_environment_go_on_like_itself(helped: ExecutionVectorEnv) -> None:
    helped.reset(seed=3)
    until_helped(helped)
    copied = copy.deepcopy(helped)
    np.testing.assert_array_equal(played(copied, 60), played(helped, 60))
    until_helped(helped)
    child = os.fork()
    seen = played(helped, 10)
    if child == 0:
        os._exit(not np.array_equal(played(pickle.loads(pickle.dumps(helped)), 10), played(helped, 10)))
    assert os.waitpid(child, 0)[1] == 0
    helped.reset(seed=3)
    assert not np.array_equal(seen, played(helped, 10))


@pytest.mark.long
@pytest.mark.parametrize("how", ["killed", "interrupted while it waits", "interrupted while paths are made here"])
def test_an_environment_that_lost_its_paths_half_way_wants_a_reset(
    helped: ExecutionVectorEnv, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    before = children()
    helped.reset(seed=3)
    first = played(helped, 20)
    with monkeypatch.context() as patch:
        if how == "interrupted while paths are made here":
            patch.setattr(ahead._Batches, "make", interrupted)
        else:
            until_helped(helped)
        if how == "interrupted while it waits":
            patch.setattr(ahead._Helper, "receive", interrupted)
        if how == "killed":
            for process in children() - before:
                os.kill(int(process), signal.SIGKILL)
        with pytest.raises((KeyboardInterrupt, RuntimeError)) as raised:
            played(helped, 600)
    assert how != "killed" or "has ended by itself: reset" in str(raised.value)
    with pytest.raises(gym.error.ResetNeeded):
        played(helped, 1)
    helped.reset(seed=3)
    np.testing.assert_array_equal(first, played(helped, 20))


def test_where_the_process_cannot_start_paths_are_made_here(
    helped: ExecutionVectorEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    helped.reset(seed=3)
    while not helped._ahead._alone:
        played(helped, 20)
    played(helped, 60)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": 1.5}, r"seed = 1\.5: must be a whole number >= 0, or one for each environment"),
        ({"seed": "12"}, "seed = '12': must be"),
        ({"seed": -1}, "seed = -1: must be a whole number >= 0"),
        ({"seed": [0, 1.5]}, r"seed = 1\.5: must be a whole number >= 0"),
        ({"seed": [0, True]}, "seed = True: must be"),
        ({"options": 3}, "reset options = 3: must be a dictionary"),
        ({"options": {"start": 3}}, "unknown reset option 'start'"),
    ],
)
def test_arguments_of_reset_that_cannot_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    env = gym.make_vec("AlmgrenChriss-v0", num_envs=2)
    with pytest.raises(InputError, match=message):
        env.reset(**arguments)
