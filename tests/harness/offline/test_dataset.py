"""Recorded episodes: what is played, what a dataset keeps of it, that Minari reads it, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest

from exec_env import ActionMode, Order
from exec_env.agents.pathwise import Pathwise, PathwiseConfig
from exec_env.base.errors import InputError
from exec_env.data.tape import Tape
from exec_env.harness import evaluate
from exec_env.harness.offline.collect import Episodes, Member, record
from exec_env.harness.offline.dataset import load, save
from exec_env.market.market import Market
from exec_env.one_asset.observation import Observation
from tests.agents.problems import head_of


def assert_same(one: Episodes, other: Episodes) -> None:
    for name in Episodes.__annotations__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


MIXTURE = [Member("twap", noise=0.5), "pov", "random", Member("adaptive", weight=2.0)]


@pytest.fixture(scope="module")
def mixture() -> Any:
    return record(MIXTURE, episodes=300, seed=5, shares=50_000, n_steps=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    recorded = record([Member("twap", noise=0.3)], episodes=20, seed=1, shares=20_000, n_steps=5, side="buy")
    return save(recorded, tmp_path / "twap-v0")


# What is played


def test_an_episode_is_what_the_environment_with_that_seed_plays_under_the_recorded_actions(mixture: Any) -> None:
    episodes, env = mixture.episodes, gym.make(mixture.spec)
    for e in range(60):
        observation, _ = env.reset(seed=5 if e == 0 else None)
        terminated, t = False, 0
        while not terminated:
            np.testing.assert_array_equal(observation, episodes.observations[e, t])
            observation, reward, terminated, _, info = env.step(episodes.actions[e, t])
            assert reward == pytest.approx(episodes.rewards[e, t], rel=1e-9, abs=1e-12)
            t += 1
        np.testing.assert_array_equal(observation, episodes.observations[e, t])
        assert t == episodes.lengths[e]
        assert info["objective_bps"] == pytest.approx(-episodes.returns[e])


@pytest.mark.slow
@pytest.mark.usefixtures("same_stream")
def test_without_noise_an_agent_costs_what_its_evaluation_says() -> None:
    for agent in ("twap", "pov", "almgren-chriss", "adaptive"):
        episodes = record([agent], "AlmgrenChriss-v0", 200, seed=3).episodes
        wanted = evaluate([agent], episodes=200, seed=3).per_path["objective"]
        np.testing.assert_allclose(-episodes.returns, wanted, rtol=1e-5)  # actions are kept in single precision


def test_episodes_do_not_depend_on_how_many_are_recorded(monkeypatch: pytest.MonkeyPatch, mixture: Any) -> None:
    monkeypatch.setattr("exec_env.harness.offline.collect._CHUNK", 70)
    fewer = record(MIXTURE, episodes=110, seed=5, shares=50_000, n_steps=8).episodes
    first = Episodes(*(getattr(mixture.episodes, name)[:110] for name in Episodes.__annotations__))
    assert_same(fewer, first)
    other = record(MIXTURE, episodes=110, seed=6, shares=50_000, n_steps=8).episodes
    assert not np.array_equal(other.actions, first.actions)


def test_a_mixture_is_played_by_its_weights() -> None:
    members = record([Member("twap", weight=3.0), "pov"], episodes=4000, n_steps=2).episodes.members
    assert abs((members == 0).mean() - 0.75) < 4 * (0.75 * 0.25 / 4000) ** 0.5


def test_noise_is_gaussian_in_multiples_of_an_even_sale() -> None:
    episodes = record([Member("twap", noise=0.1)], episodes=4000, n_steps=4).episodes
    paces = episodes.actions[:, :3, 0] * np.array([4.0, 3.0, 2.0])
    assert abs(paces.mean() - 1) < 4 * 0.1 / 12_000**0.5
    assert abs(paces.std() - 0.1) < 4 * 0.1 / 24_000**0.5
    assert abs(np.corrcoef(paces.T)[0, 1]) < 4 / 4000**0.5
    # In the last slice half of it is clipped: nobody sells more than is left.
    assert abs((episodes.actions[:, 3] == 1).mean() - 0.5) < 4 * 0.5 / 4000**0.5


def test_paces_of_the_random_agent_are_uniform() -> None:
    episodes = record(["random"], episodes=2000, n_steps=4, max_participation=None).episodes
    paces = np.sort((episodes.actions[:, :3, 0] * np.array([4.0, 3.0, 2.0])).ravel())
    assert np.abs(paces / 2 - np.linspace(0, 1, len(paces))).max() < 1.63 / len(paces) ** 0.5  # Kolmogorov, 1 %


def test_pure_twap_holds_one_action_per_time() -> None:
    actions = record(["twap"], episodes=50).episodes.actions[..., 0]
    assert (actions == actions[0]).all()
    np.testing.assert_allclose(actions[0], 1 / np.arange(40, 0, -1), rtol=1e-6)


def test_transitions_are_the_steps_of_all_episodes_in_their_order(mixture: Any) -> None:
    episodes, steps = mixture.episodes, mixture.episodes.transitions
    assert len(steps.rewards) == episodes.lengths.sum() < 300 * 8  # some are done early
    ends = np.flatnonzero(steps.terminated)
    np.testing.assert_array_equal(np.diff(ends, prepend=-1), episodes.lengths)
    inside = ~steps.terminated[:-1]
    np.testing.assert_array_equal(steps.next_observations[:-1][inside], steps.observations[1:][inside])
    assert (steps.next_observations[ends, Observation._fields.index("inventory_left")] == 0).all()
    np.testing.assert_allclose(np.add.reduceat(steps.rewards, np.r_[0, ends[:-1] + 1]), episodes.returns)


def test_a_trained_agent_and_its_weights_are_part_of_what_is_said(tmp_path: Path) -> None:
    Pathwise(PathwiseConfig(hidden=(4,)), head_of(ActionMode("fraction"), Order())).save(tmp_path / "run")
    recorded = record([tmp_path / "run"], episodes=3)
    (said,) = recorded.provenance["agents"]
    assert said["class"] == "Pathwise"
    assert len(said["weights_sha256"]) == 64


def test_episodes_of_a_recorded_market(tape_csv: Path, tmp_path: Path) -> None:
    options = {"tape": str(tape_csv), "shares": 500, "n_steps": 6}
    found = load(save(record(["twap"], episodes=10, **options), tmp_path / "tape-v0"))
    assert found.provenance["options"] == options
    assert found.provenance["tape"]["sha256"] == Tape.read(tape_csv).sha256
    assert found.market == Tape.read(tape_csv).market(Market())


# What is kept


@pytest.mark.slow
def test_what_is_read_is_what_was_recorded_with_what_made_it(mixture: Any, tmp_path: Path) -> None:
    found = load(save(mixture, tmp_path / "mixture-v0"))
    assert_same(found.episodes, mixture.episodes)
    said = found.provenance
    assert (said["env"], said["seed"], said["episodes"]) == ("AlmgrenChrissContinuous-v0", 5, 300)
    assert said["options"] == {"shares": 50_000, "n_steps": 8}
    assert [(a["agent"], a["weight"], a["noise"]) for a in said["agents"]] == [
        ("twap", 1.0, 0.5),
        ("pov", 1.0, 0.0),
        ("random", 1.0, 0.0),
        ("adaptive", 2.0, 0.0),
    ]
    assert found.order == Order(shares=50_000, n_steps=8)
    assert {"exec-env", "gymnasium", "numpy", "minari", "python"} <= set(said["versions"])


def test_minari_reads_it_by_name_and_makes_the_environment_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder.parent))
    dataset, episodes = minari.load_dataset("twap-v0"), load(folder).episodes
    assert (dataset.total_episodes, dataset.total_steps) == (20, episodes.lengths.sum())
    for e, episode in enumerate(dataset.iterate_episodes()):
        n = episodes.lengths[e]
        np.testing.assert_array_equal(episode.observations, episodes.observations[e, : n + 1])
        np.testing.assert_array_equal(episode.actions, episodes.actions[e, :n])
        np.testing.assert_array_equal(episode.rewards, episodes.rewards[e, :n])
        assert episode.terminations.tolist() == [False] * (n - 1) + [True]
        assert not episode.truncations.any()
    env: Any = dataset.recover_environment().unwrapped
    assert env.order == Order(shares=20_000, n_steps=5, side="buy")
    assert env.action_space == dataset.action_space
    assert dataset.env_spec.id == "AlmgrenChrissContinuous-v0"


def full(*_: Any) -> None:
    raise OSError("disk full")


def test_nothing_is_overwritten_and_nothing_half_done_is_left(
    mixture: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(mixture, tmp_path / "a-v0")
    before = (tmp_path / "a-v0/data/main_data.hdf5").read_bytes()
    with pytest.raises(ValueError, match=r"a-v0 exists: choose another folder"):
        save(mixture, tmp_path / "a-v0")
    assert (tmp_path / "a-v0/data/main_data.hdf5").read_bytes() == before
    monkeypatch.setattr("exec_env.harness.offline.dataset._write", full)
    with pytest.raises(InputError, match="b-v0: cannot be written: disk full"):
        save(mixture, tmp_path / "b-v0")
    assert [p.name for p in tmp_path.iterdir()] == ["a-v0"]


# What is refused


@pytest.mark.parametrize("name", ["twap", "twap 0.2-v0", "twap-v"])
def test_a_name_that_minari_does_not_take(name: str, mixture: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a dataset's name must be letters, digits, '-' and '_', and end in a version"):
        save(mixture, tmp_path / name)


@pytest.mark.parametrize(
    ("members", "options", "message"),
    [
        (["twop"], {}, "unknown agent 'twop'; did you mean 'twap'"),
        ([], {}, "no agents to record: name at least one"),
        (["twap"], {"action": "pace"}, "action = 'pace': episodes are recorded with action 'fraction'"),
        (["twap"], {"shares": -1.0}, r"Order\.shares = -1\.0: must be a finite number > 0"),
        (["twap"], {"episodes": 0}, "episodes = 0: must be a whole number >= 1"),
    ],
)
def test_what_cannot_be_recorded(members: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        record(members, **options)


def test_members_that_make_no_sense() -> None:
    for noise in (-0.1, 1e9, float("nan")):
        with pytest.raises(ValueError, match=r"Member\.noise = .*: must be in \[0, 100\]"):
            Member("twap", noise=noise)
    with pytest.raises(ValueError, match=r"the agent 'random' is all noise"):
        Member("random", noise=0.1)


def edit(folder: Path, change: Any) -> None:
    with h5py.File(folder / "data/main_data.hdf5", "r+") as file:
        change(file)


def replaced(name: str, value: Any) -> Any:
    def change(file: h5py.File) -> None:
        del file["episode_3"][name]
        file["episode_3"][name] = value

    return change


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("actions", np.zeros((4, 1))), r"episode 3: actions has shape \(4, 1\), not \(5, 1\)"),
        (replaced("observations", np.zeros((6, 9))), r"observations has shape \(6, 9\), not \(6, 10\)"),
        (replaced("rewards", np.full(5, np.nan)), "rewards has an entry that is not finite"),
        (replaced("actions", np.full((5, 1), 1.5, np.float32)), r"actions must be fractions of what is left"),
        (replaced("terminations", np.ones(5, bool)), "must be terminated at its last step, and nowhere else"),
        (replaced("rewards", np.zeros(5)), r"corrupt: its mean return is .*, not -"),
        (replaced("actions", np.full((5, 1), 0.5, np.float32)), "corrupt: its checksum is not the one"),
        (lambda file: file.pop("episode_19"), "corrupt: holds 19 episodes, not 20"),
        (lambda file: file["episode_3"].pop("rewards"), "corrupt: "),
    ],
)
def test_a_dataset_that_was_changed(folder: Path, change: Any, message: str) -> None:
    edit(folder, change)
    with pytest.raises(ValueError, match=message) as caught:
        load(folder)
    assert str(caught.value).startswith(f"dataset {folder}: ")
    assert "\n" not in str(caught.value)


def rewrite(folder: Path, change: Any) -> None:
    """Edit the provenance in a dataset's metadata."""
    file = folder / "data/metadata.json"
    metadata = json.loads(file.read_text())
    change(metadata["exec_env"])
    file.write_text(json.dumps(metadata))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said["order"].update(shares=9_000.0), "corrupt: its checksum is not the one"),
        (lambda said: said["market"].update(volatility=0.5), "corrupt: its checksum is not the one"),
        (lambda said: said.update(agents=[{"agent": "optimal"}]), "corrupt: its checksum is not the one"),
        (lambda said: said.update(env="AlmgrenChriss-v0"), "corrupt: its checksum is not the one"),
        (lambda said: said.update(randomise={"fields": [], "stress": True}), "corrupt: its checksum is not the one"),
        (lambda said: said["market"].pop("volatility"), r"metadata: has no field 'market\.volatility'"),
        (lambda said: said.update(reward={}), r"metadata: has no field 'reward\.kind'"),
        (lambda said: said.pop("agents"), "metadata: has no field 'agents'"),
        (lambda said: said.update(return_mean=None), "metadata: return_mean = None: is nothing that"),
        (lambda said: said.update(return_mean="x"), "metadata: return_mean = 'x': is nothing that"),
        (lambda said: said.update(return_mean=float("nan")), "metadata: return_mean = nan: is nothing that"),
        (lambda said: said["order"].update(n_steps=3), "episode 0: has 5 slices, but its order has 3"),
    ],
)
def test_what_is_said_of_a_dataset_cannot_be_changed_either(folder: Path, change: Any, message: str) -> None:
    rewrite(folder, change)
    with pytest.raises(ValueError, match=message) as caught:
        load(folder)
    assert str(caught.value).startswith(f"dataset {folder}: ")


def test_a_folder_that_is_missing_foreign_or_cut_short(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere: no such folder; exec-env collect records one"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no Minari dataset"):
        load(tmp_path)
    data = folder / "data" / "main_data.hdf5"
    data.write_bytes(data.read_bytes()[:5000])
    with pytest.raises(ValueError, match="corrupt: "):
        load(folder)
    metadata = json.loads((folder / "data/metadata.json").read_text())
    for change, message in (
        ({"exec_env": None}, r"was not recorded by this version of exec-env collect"),
        ({"exec_env": metadata["exec_env"] | {"observation": ["price"]}}, "this version's entries are"),
        ({"exec_env": metadata["exec_env"] | {"order": {"shares": 0}}}, r"Order\.shares = 0: must be"),
    ):
        (folder / "data/metadata.json").write_text(json.dumps(metadata | change))
        with pytest.raises(ValueError, match=message):
            load(folder)
    shutil.rmtree(folder / "data")
    with pytest.raises(ValueError, match="no Minari dataset"):
        load(folder)
