"""Names of agents, and loading a run folder that somebody else made."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from exec_env import ActionMode, Market, Order
from exec_env.agents.ddqn import DDQN
from exec_env.agents.dqn import DQN, DQNConfig
from exec_env.agents.ppo import PPO, PPOConfig
from exec_env.baselines.twap import TWAP
from exec_env.harness.agents import Agent, Learner, Setup, agent_class, known_agents, load_run, resolve
from exec_env.one_asset.problem import OneAsset
from tests.agents.problems import head_of

DELETE = object()
HEAD = head_of(ActionMode("pace"), Order())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with a small trained agent."""
    folder = tmp_path / "my-run"
    folder.mkdir()
    DQN(DQNConfig(hidden=(4,)), HEAD, seed=3).save(folder)
    return folder


def change(folder: Path, **fields: Any) -> None:
    described = yaml.safe_load((folder / "agent.yaml").read_text()) | fields
    described = {k: v for k, v in described.items() if v is not DELETE}
    (folder / "agent.yaml").write_text(yaml.safe_dump(described))


@pytest.mark.slow
def test_every_name_leads_to_a_class_of_an_agent() -> None:
    assert {"twap", "vwap", "pov", "almgren-chriss", "dqn"} <= set(known_agents())
    for name in known_agents():
        cls = agent_class(name)
        if hasattr(cls, "learn"):
            assert all(hasattr(cls, method) for method in ("Config", "build", "save", "load", "state_dict"))
        else:
            assert isinstance(cls(Market(), Order()), Agent)


def test_learners_are_learners_and_schedules_are_not() -> None:
    assert isinstance(DQN(DQNConfig(hidden=(4,)), HEAD), Learner)
    assert not isinstance(TWAP(Market(), Order()), Learner)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown agent 'almgren_chris'; did you mean 'almgren-chriss'\?"):
        agent_class("almgren_chris")


def test_a_run_folder_gives_the_agent_back_under_its_own_name(run: Path) -> None:
    label, agent = resolve(run, OneAsset())
    observations = np.random.default_rng(0).standard_normal((50, 10)).astype(np.float32)
    saved = DQN(DQNConfig(hidden=(4,)), HEAD, seed=3)
    assert label == "my-run"
    np.testing.assert_array_equal(agent.act(observations), saved.act(observations))
    assert agent.action_mode == saved.action_mode


def test_levels_of_an_action_come_back(tmp_path: Path) -> None:
    mode = ActionMode("pace", (0.0, 1.0, 2.5))
    DQN(DQNConfig(hidden=(4, 3)), head_of(mode, Order())).save(tmp_path)
    assert load_run(tmp_path).action_mode == mode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"agent": "dqnn"}, "unknown agent 'dqnn'; did you mean 'dqn'"),
        ({"agent": "twap"}, r"agent\.yaml: agent 'twap' does not learn, so no run can hold it"),
        ({"agent": "os:system"}, "unknown agent 'os:system'"),
        ({"agent": DELETE}, r"agent\.yaml: has no field 'agent'"),
        ({"agent": ["dqn"]}, r"agent\.yaml: has no field 'agent'"),
        ({"action_mode": DELETE}, r"agent\.yaml: expected fields of ActionMode, found NoneType"),
        ({"action_mode": {"name": "pase"}}, r"agent\.yaml: unknown action 'pase'; did you mean 'pace'"),
        ({"action_mode": {"name": ["pace"]}}, r"agent\.yaml: "),
        ({"action_mode": {"nam": "pace"}}, r"agent\.yaml: unknown field of ActionMode 'nam'"),
        ({"action_mode": {"name": "pace", "levels": [1.0]}}, r"agent\.yaml: levels = "),
        ({"config": {"hidden": "wide"}}, r"agent\.yaml: DQNConfig\.hidden = 'wide': must be a sequence"),
        ({"config": {"hidden": [-1]}}, r"agent\.yaml: DQNConfig\.hidden = \[-1\]: must be"),
        ({"config": {"hidden": []}}, r"agent\.yaml: DQNConfig\.hidden = \[\]: must be|weights of another network"),
        ({"config": {"gama": 1.0}}, r"agent\.yaml: unknown field of DQNConfig 'gama'; did you mean 'gamma'"),
        ({"config": DELETE}, r"agent\.yaml: expected fields of DQNConfig"),
        ({"space": DELETE}, r"agent\.yaml: space = None: must be that of an action"),
        ({"space": {"discrete": 2.5}}, r"agent\.yaml: space = .*: must be that of an action"),
        ({"space": {"discrete": 12}}, r"agent\.yaml: action_mode = .* does not fit space"),
        ({"n_steps": 0}, r"agent\.yaml: n_steps = 0: must be"),
        ({"action_mode": {"name": "fraction"}}, r"agent\.yaml: action_mode = .* does not fit space"),
        ({"action_mode": {"name": "pace", "levels": [0, 1]}}, r"agent\.yaml: action_mode = .* does not fit"),
        ({"observation": DELETE}, r"agent\.yaml: observation = None: must be a list of names"),
        ({"observation": ["time_left"]}, r"weights\.pt: weights of another network"),
        ({"config": {"hidden": [5]}}, r"weights\.pt: weights of another network"),
        ({"config": {"hidden": [4, 4]}}, r"weights\.pt: weights of another network"),
    ],
)
def test_a_description_that_does_not_fit_is_refused_in_one_sentence(run: Path, fields: dict, message: str) -> None:
    change(run, **fields)
    with pytest.raises(ValueError, match=message) as caught:
        load_run(run)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"0.weight": 1},
        {"other": torch.zeros(3)},
        {1: torch.zeros(3)},
        {"0.weight": None, "0.bias": None, "2.weight": None, "2.bias": None},
    ],
)
def test_weights_of_something_else_are_refused_in_one_sentence(run: Path, weights: dict) -> None:
    torch.save(weights, run / "weights.pt")
    with pytest.raises(ValueError, match=r"weights\.pt: ") as caught:
        load_run(run)
    assert "\n" not in str(caught.value)


def test_corrupt_truncated_and_missing_weights_are_refused(run: Path) -> None:
    whole = (run / "weights.pt").read_bytes()
    for content in (b"", b"nonsense", whole[: len(whole) // 2]):
        (run / "weights.pt").write_bytes(content)
        with pytest.raises(ValueError, match=r"weights\.pt: corrupt, or not a file of weights"):
            load_run(run)
    (run / "weights.pt").unlink()
    with pytest.raises(ValueError, match=r"weights\.pt: no such file"):
        load_run(run)


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_loading_a_run_runs_nothing_that_it_contains(run: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    described = (run / "agent.yaml").read_text()
    for text in (
        f"agent: !!python/object/apply:os.system ['touch {marker}']",
        described.replace("agent: dqn", f"agent: dqn\nextra: !!python/object/apply:os.system ['touch {marker}']"),
    ):
        (run / "agent.yaml").write_text(text)
        with pytest.raises(ValueError, match=r"agent\.yaml: not a configuration"):
            load_run(run)
    (run / "agent.yaml").write_text(described)
    for dump in (torch.save, pickle.dump):
        with (run / "weights.pt").open("wb") as file:
            dump({"0.weight": Malicious(marker)}, file)
        with pytest.raises(ValueError, match=r"weights\.pt: corrupt, or not a file of weights"):
            load_run(run)
    assert not marker.exists()


def test_a_run_without_its_best_agent_names_the_last(run: Path) -> None:
    run.rename(run.parent / "last")
    run.mkdir()
    (run / "config.yaml").touch()
    with pytest.raises(ValueError, match=r"my-run: has no best/, the agent at its best check$"):
        load_run(run)
    (run.parent / "last").rename(run / "last")
    with pytest.raises(ValueError, match=r"my-run: has no best/, .*; .*my-run/last can be named instead$"):
        load_run(run)


# Learners on Stable-Baselines3


KEPT: dict[str, Any] = {
    "ddqn": (DDQN, DQNConfig(hidden=(4,), warm_up=1), "pace"),
    "ppo": (PPO, PPOConfig(hidden=(4,)), "pace"),
    "continuous ppo": (PPO, PPOConfig(hidden=(4,)), "fraction"),
}


def keep(name: str, folder: Path) -> Any:
    cls, config, action = KEPT[name]
    agent = cls.build(config, head_of(ActionMode(action), Order()), Setup(1000, 1000, 1, 0, "cpu"))
    agent.save(folder)
    return agent


@pytest.mark.slow
@pytest.mark.parametrize("name", KEPT)
def test_loading_a_run_on_the_library_gives_it_back_and_runs_nothing_that_it_contains(
    name: str, tmp_path: Path
) -> None:
    run, marker = tmp_path / "run", tmp_path / "marker"
    agent = keep(name, run)
    observations = np.random.default_rng(0).uniform(size=(50, 10)).astype(np.float32)
    np.testing.assert_array_equal(load_run(run).act(observations), agent.act(observations))
    whole, described = (run / "weights.pt").read_bytes(), (run / "agent.yaml").read_text()
    for dump in (torch.save, pickle.dump):
        with (run / "weights.pt").open("wb") as file:
            dump({"q_net.0.weight": Malicious(marker)}, file)
        with pytest.raises(ValueError, match=r"weights\.pt: corrupt, or not a file of weights"):
            load_run(run)
    agent.export(tmp_path / "model.zip")  # a file that carries pickles by its nature
    for content in (b"", whole[: len(whole) // 2], (tmp_path / "model.zip").read_bytes()):
        (run / "weights.pt").write_bytes(content)
        with pytest.raises(ValueError, match=r"weights\.pt: corrupt, or not a file of weights"):
            load_run(run)
    (run / "agent.yaml").write_text(f"{described}\nx: !!python/object/apply:os.system ['touch {marker}']\n")
    with pytest.raises(ValueError, match=r"agent\.yaml: not a configuration"):
        load_run(run)
    assert not marker.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("ddqn", {"agent": "dqn"}, r"weights\.pt: weights of another network"),
        ("ddqn", {"agent": "ppo"}, r"agent\.yaml: unknown field of PPOConfig '"),
        ("ppo", {"agent": "ddqn"}, r"agent\.yaml: unknown field of DQNConfig '"),
        ("ppo", {"action_mode": {"name": "fraction"}}, r"agent\.yaml: action_mode = .* does not fit space"),
        ("ppo", {"action_mode": {"name": "pace", "levels": [0, 1]}}, r"agent\.yaml: action_mode = .* does not fit"),
        ("ppo", {"config": {"hidden": [5]}}, r"weights\.pt: weights of another network"),
        ("ppo", {"config": {"batch_size": 1}}, r"agent\.yaml: PPOConfig\.batch_size = 1: must be"),
        ("ddqn", {"action_mode": {"name": "fraction"}}, r"agent\.yaml: action_mode = .* does not fit space"),
        ("continuous ppo", {"action_mode": {"name": "pace"}}, r"agent\.yaml: action_mode = .* does not fit space"),
        ("continuous ppo", {"action_mode": {"name": "shares"}}, r"weights\.pt: weights of another network"),
        (
            "continuous ppo",
            {"space": {"low": [0.0], "high": [-1.0]}},
            r"agent\.yaml: space = .*: must have finite bounds",
        ),
        (
            "continuous ppo",
            {"space": {"low": [0.0], "high": [1e38]}},
            r"agent\.yaml: space = .*: must have finite bounds",
        ),
        ("continuous ppo", {"space": {"low": [0.0]}}, r"agent\.yaml: space = .*: must be that of an action"),
        ("continuous ppo", {"space": DELETE}, r"agent\.yaml: space = None: must be that of an action"),
        ("continuous ppo", {"space": {"discrete": 10**400}}, r"agent\.yaml: space = .*: must be that of an action"),
        ("continuous ppo", {"n_steps": 2.5}, r"agent\.yaml: n_steps = 2\.5: must be"),
        ("continuous ppo", {"observation": ["a b"]}, r"agent\.yaml: observation = .*: must be a list of names"),
    ],
)
def test_a_description_that_was_changed_is_refused_in_one_sentence(
    name: str, fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    keep(name, tmp_path)
    change(tmp_path, **fields)
    with pytest.raises(ValueError, match=message) as caught:
        load_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_changed_limit_of_a_continuous_action_still_binds(tmp_path: Path) -> None:
    keep("continuous ppo", tmp_path)
    change(tmp_path, space={"low": [0.0], "high": [0.01]}, n_steps=7)
    observations = np.random.default_rng(0).uniform(size=(50, 10)).astype(np.float32)
    assert load_run(tmp_path).act(observations).max() == np.float32(0.01)
