"""BC, TD3+BC and BCQ: hand-worked losses, a bandit with a known answer, and what a run from a dataset keeps."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from exec_env import ActionMode, Order
from exec_env.agents.bc import BC, BCConfig
from exec_env.agents.bcq import BCQ, VAE, BCQConfig, bcq_targets
from exec_env.agents.offline_networks import Batch, Paces, Standardise, TwinCritic
from exec_env.agents.td3_bc import TD3BC, TD3BCConfig, actor_loss, td3_targets
from exec_env.harness import TrainConfig, evaluate, train
from exec_env.harness.agents import Learner, Setup, load_run
from exec_env.harness.offline.collect import Member, Transitions, record
from exec_env.harness.offline.dataset import save
from exec_env.harness.training.loop import resume
from exec_env.one_asset.observation import Observation
from tests.agents.problems import head_of, nothing

D = len(Observation._fields)
SMALL: dict[str, Any] = {"hidden": (32, 32)}
LEARNERS: dict[str, tuple[Any, Any]] = {"bc": (BC, BCConfig), "td3-bc": (TD3BC, TD3BCConfig), "bcq": (BCQ, BCQConfig)}
CALM: dict[str, Any] = {
    "n_steps": 4,
    "slice_length": 1 / 8,
    **dict.fromkeys(("liquidity_volatility", "spread_noise", "volume_noise", "impact_noise", "decay_noise"), 0.0),
    "max_participation": None,
}
"""Four slices over half a day, without any noise in rewards: TWAP costs 17.89 bps, the optimum 14.33."""
every_learner = pytest.mark.parametrize("name", LEARNERS)


def batch(rewards: list[float], terminated: list[float]) -> Batch:
    n = len(rewards)
    return Batch(
        torch.zeros(n, D), torch.zeros(n, 1), torch.tensor(rewards), torch.zeros(n, D), torch.tensor(terminated)
    )


# Worked by hand


class Fixed(torch.nn.Module):
    """A critic with these values."""

    def __init__(self, first: list[float], second: list[float]) -> None:
        super().__init__()
        self.values = torch.tensor(first), torch.tensor(second)

    def forward(self, observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.values


def test_td3s_target_takes_the_smaller_value_and_nothing_after_the_end() -> None:
    critic = Fixed([3.0, 5.0], [4.0, -2.0])
    targets = td3_targets(batch([1.0, 1.0], [0.0, 0.0]), torch.zeros(2, 1), critic, gamma=0.5)
    assert targets.tolist() == [1 + 0.5 * 3, 1 - 0.5 * 2]
    assert td3_targets(batch([1.0, 7.0], [1.0, 1.0]), torch.zeros(2, 1), critic, 1.0).tolist() == [1.0, 7.0]


def test_td3_bcs_actor_weighs_values_by_alpha_over_their_mean_size() -> None:
    values = torch.tensor([-4.0, 2.0], requires_grad=True)
    actions, behaviour = torch.tensor([[0.5], [0.0]], requires_grad=True), torch.tensor([[0.0], [0.0]])
    loss = actor_loss(actions, values, behaviour, alpha=2.5)
    weight = 2.5 / 3  # mean |Q| is 3
    assert loss.item() == pytest.approx(-weight * -1.0 + 0.125)
    loss.backward()
    assert values.grad is not None
    assert values.grad.tolist() == pytest.approx([-weight / 2, -weight / 2])  # the weight itself has no gradient


def test_bcqs_target_mixes_both_values_before_it_takes_the_best_action() -> None:
    first, second = torch.tensor([[1.0, 4.0]]), torch.tensor([[3.0, 0.0]])
    # 0.75 min + 0.25 max: 1.5 and 1.0
    assert bcq_targets(batch([1.0], [0.0]), (first, second), 1.0, 0.75).tolist() == [2.5]
    assert bcq_targets(batch([1.0], [1.0]), (first, second), 1.0, 0.75).tolist() == [1.0]


def test_the_generative_models_loss_is_error_and_divergence() -> None:
    vae = VAE(D, (), latent_clip=0.5)
    for part in (vae.encoder, vae.decoder):
        torch.nn.init.zeros_(part[0].weight)  # type: ignore[arg-type]
        torch.nn.init.zeros_(part[0].bias)  # type: ignore[arg-type]
    vae.encoder[0].bias.data[:2] = 2.0  # type: ignore[operator, union-attr]
    one = batch([0.0], [0.0])._replace(actions=torch.tensor([[0.6]]))
    # Decoded: 0. Latent: mean 2, deviation 1, so that minus half of 1 + 0 - 4 - 1 is 2 for each of both, and 4 in all.
    assert vae.loss(one, torch.zeros(1, 2)).item() == pytest.approx(0.6**2 + 0.25 * 4)


def test_paces_are_what_fractions_are_times_the_slices_left() -> None:
    paces = Paces(n_steps=4)
    seen = torch.zeros(4, D)
    seen[:, 0] = torch.tensor([1.0, 0.75, 0.5, 0.25])
    fractions = torch.tensor([[0.25], [0.5], [0.0], [1.0]])  # paces 1, 1.5, 0 and 1
    paces.fit(fractions, seen, reach=10.0, narrowest=0.1)
    assert float(paces.centre - paces.half_width) == 0.0  # nobody buys back
    torch.testing.assert_close(paces.decode(paces.encode(fractions, seen), seen), fractions)
    paces.fit(torch.tensor([[0.25], [0.75]]), seen[[0, 0]], reach=1.0, narrowest=0.1)  # paces 2 ± 1
    assert (float(paces.centre), float(paces.half_width)) == (2.0, 1.0)
    assert paces.encode(torch.tensor([[0.25], [1.0]]), seen[[0, 0]])[:, 0].tolist() == [-1.0, 1.0]
    assert paces.clipped(torch.tensor([[0.25], [1.0]]), seen[[0, 0]]) == 50.0  # of all actions [%]
    assert paces.decode(torch.ones(1, 1), seen[3:]).tolist() == [[1.0]]  # never more than all
    paces.fit(torch.full((3, 1), 0.25), seen[[0, 0, 0]], reach=3.0, narrowest=0.1)
    assert (float(paces.centre), float(paces.half_width)) == pytest.approx((1.0, 0.1))


def test_both_critics_are_fitted() -> None:
    critic = TwinCritic(D, (8,))
    one = batch([0.0, 0.0], [0.0, 0.0])
    first, second = critic(one.observations, one.actions)
    wanted = ((first - 3) ** 2).mean() + ((second - 3) ** 2).mean()
    torch.testing.assert_close(critic.loss(one, torch.full((2,), 3.0)), wanted)
    torch.testing.assert_close(critic.first_value(one.observations, one.actions), first)


def test_values_that_are_all_zero_leave_imitation_alone() -> None:
    values = torch.zeros(2, requires_grad=True)
    loss = actor_loss(torch.full((2, 1), 0.5), values, torch.zeros(2, 1), alpha=2.5)
    assert loss.item() == 0.25
    loss.backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0.0, 0.0]


def test_an_entry_without_spread_is_seen_as_zero_and_can_be_undone() -> None:
    standardise = Standardise(2)
    standardise.fit(torch.tensor([[0.7, 1.0], [0.7, 3.0]]))
    elsewhere = torch.tensor([[2.5, 3.0]])
    assert standardise(elsewhere)[0].tolist() == pytest.approx([0.0, 1 / 1.001])
    torch.testing.assert_close(standardise.undo(standardise(elsewhere)), elsewhere)


# One update, worked by hand


class Sums(torch.nn.Module):
    """A target critic that depends on all that it is given: Q1 is the sum of state and action, Q2 is 2 less."""

    def forward(self, observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        total = observations.sum(1) + actions[:, 0]
        return total, total - 2


class Constant(torch.nn.Module):
    """A network whose output, after tanh, is this."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = torch.atanh(torch.tensor(value))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.value.expand(len(inputs), 1)


def untaught(name: str, **config: Any) -> Any:
    """A learner that is never fitted, and none of whose networks changes: paces are 1 + action, N is 4."""
    cls, config_class = LEARNERS[name]
    agent = cls(
        config_class(**(SMALL | config)),
        head_of(ActionMode("fraction"), Order(n_steps=4)),
        Setup(10, 10, 1, 0, "cpu"),
        None,
    )
    agent.step = lambda name, loss: loss.detach()
    agent.follow = lambda rate, *names: None
    return agent


def targets_of(agent: Any, batch: Batch) -> torch.Tensor:
    """What the critics are to be fitted to in an update."""
    found = []

    def loss(batch: Batch, targets: torch.Tensor) -> torch.Tensor:
        found.append(targets)
        return targets.mean()

    agent.critic.loss = loss
    agent.update(batch, torch.Generator().manual_seed(0))
    return found[0]


def transitions(n: int = 6) -> Batch:
    """Random ones. Of the states that follow, the even ones have all four slices left, the odd ones the last."""
    generator = torch.Generator().manual_seed(1)
    seen, following = torch.rand(2, n, D, generator=generator)
    following[:, 0] = torch.tensor([1.0, 0.25]).repeat(n // 2)
    ends = torch.zeros(n)
    ends[:2] = 1.0
    return Batch(seen, torch.zeros(n, 1), torch.arange(float(n)), following, ends)


def test_td3s_update_asks_the_targets_about_the_states_that_follow() -> None:
    agent, data = untaught("td3-bc", target_noise=0.0, gamma=0.5), transitions()
    agent.targets["actor"], agent.targets["critic"] = Constant(0.3), Sums()
    actions = torch.tensor([0.3, 0.0]).repeat(3)  # in the last slice nobody can trade more than all: pace 1
    wanted = data.rewards + 0.5 * (1 - data.terminated) * (data.next_observations.sum(1) + actions - 2)
    torch.testing.assert_close(targets_of(agent, data), wanted)


def test_bcqs_update_asks_the_targets_about_the_states_that_follow() -> None:
    agent, data = untaught("bcq", gamma=0.5, perturbation=0.4), transitions()
    for parameter in agent.vae.decoder.parameters():
        torch.nn.init.zeros_(parameter)
    agent.vae.mean.fill_(0.1)  # is what is decoded, whatever the latent
    agent.targets["perturbation"], agent.targets["critic"] = Constant(0.5), Sums()
    actions = torch.tensor([0.1 + 0.4 * 0.5, 0.0]).repeat(3)
    mixed = data.next_observations.sum(1) + actions - 0.75 * 2
    torch.testing.assert_close(targets_of(agent, data), data.rewards + 0.5 * (1 - data.terminated) * mixed)


@pytest.mark.parametrize(("noise", "clip", "deviation"), [(0.1, 10.0, 0.1), (50.0, 0.25, 0.25), (0.0, 0.5, 0.0)])
def test_the_targets_action_has_noise_of_this_deviation_up_to_this_size(
    noise: float, clip: float, deviation: float
) -> None:
    agent = untaught("td3-bc", target_noise=noise, noise_clip=clip)
    agent.targets["actor"], agent.targets["critic"] = Constant(0.0), Sums()
    n = 4000
    data = batch([0.0] * n, [0.0] * n)
    data.next_observations[:, 0] = 1.0
    added = targets_of(agent, data) + 1  # 2 less, and a time of 1
    assert float(added.abs().max()) <= min(clip, 5 * noise) + 1e-6
    assert float(added.std()) == pytest.approx(deviation, abs=4 * deviation / (2 * n) ** 0.5 + 0.005 * clip)


def test_actor_and_targets_move_once_in_policy_delay_updates_of_the_critics() -> None:
    agent = learned("td3-bc", bandit(50), steps=0, policy_delay=3)
    moved: list[str] = []
    step, follow = agent.step, agent.follow
    agent.step = lambda name, loss: (moved.append(name), step(name, loss))[1]
    agent.follow = lambda rate, *names: (moved.append("targets"), follow(rate, *names))[1]
    agent.learn(None, 7, 1, nothing)
    assert [moved.count(name) for name in ("critic", "actor", "targets")] == [7, 3, 3]


def test_nobody_is_valued_for_more_than_is_left() -> None:
    agent = untaught("td3-bc")
    seen = torch.zeros(3, D)
    seen[:, 0] = torch.tensor([0.25, 0.5, 1.0])  # the whole is a pace of 1, 2 and 4: actions 0, 1 and, clipped, 1
    assert agent.feasible(torch.ones(3, 1), seen)[:, 0].tolist() == [0.0, 1.0, 1.0]
    assert agent.feasible(torch.full((3, 1), -0.5), seen)[:, 0].tolist() == [-0.5] * 3


def test_bcqs_perturbation_climbs_the_values() -> None:
    agent = learned("bcq", bandit(50), steps=0, perturbation=0.5, learning_rate=0.01)
    agent.critic.first_value = lambda observations, actions: actions[:, 0]
    before = float(agent.policy(agent._data.observations).detach().mean())
    agent.step = (lambda step: lambda name, loss: step(name, loss) if name == "perturbation" else loss.detach())(
        agent.step
    )
    agent.setup = replace(agent.setup, total_steps=100)
    agent.learn(None, 40, 1, nothing)
    assert float(agent.policy(agent._data.observations).detach().mean()) > before + 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["td3-bc", "bcq"])
def test_values_reach_back_over_two_steps(name: str) -> None:
    # 1 now and 3 in the step after it, half as much from the first: 2.5 and 3.
    n = 20
    first, second, over = (np.zeros((n, D), np.float32) for _ in range(3))
    first[:, 0], second[:, 0] = 1.0, 0.5
    seen, following = np.concatenate([first, second]), np.concatenate([second, over])
    rewards, ends = np.repeat([1.0, 3.0], n), np.repeat([False, True], n)
    actions = np.linspace(0.2, 0.3, 2 * n, dtype=np.float32)[:, None]
    data = Transitions(seen, actions, rewards, following, ends)
    config: dict[str, Any] = {"hidden": (16,), "batch_size": 40, "learning_rate": 0.02, "target_rate": 0.2}
    if name == "td3-bc":
        config |= {"alpha": 0.01, "target_noise": 0.0}  # stay with the data's actions
    agent = learned(name, data, steps=200, gamma=0.5, baseline=False, **config)
    one = agent._data
    with torch.no_grad():
        values = agent.critic.first_value(one.observations, one.actions)
    assert float(values[:n].mean()) == pytest.approx(2.5, abs=0.1)
    assert float(values[n:].mean()) == pytest.approx(3.0, abs=0.1)


# A bandit with a known answer


def bandit(n: int = 4000) -> Transitions:
    """One step; paces are 1 ± 0.4, the best one is 1.5 where liquidity is high and 0.8 where it is low."""
    rng = np.random.default_rng(0)
    seen = np.zeros((n, D), np.float32)
    seen[:, 0] = 1.0
    liquidity = np.sign(rng.standard_normal(n))
    seen[:, Observation._fields.index("log_liquidity")] = liquidity
    paces = (1 + 0.4 * rng.standard_normal(n)).clip(0)
    best = np.where(liquidity > 0, 1.5, 0.8)
    rewards = -2 * (paces - best) ** 2 + 0.2 * rng.standard_normal(n) - 1
    return Transitions(seen, (paces / 4)[:, None].astype(np.float32), rewards, seen, np.ones(n, bool))


def learned(name: str, data: Transitions, steps: int = 1500, **config: Any) -> Any:
    cls, config_class = LEARNERS[name]
    head = head_of(ActionMode("fraction"), Order(n_steps=4))
    agent = cls(config_class(**(SMALL | config)), head, Setup(max(steps, 1), max(steps, 1), 1, 0, "cpu"), data)
    agent.learn(None, steps, 1, nothing)
    return agent


def pace(agent: Any, liquidity: float) -> float:
    seen = np.zeros((1, D), np.float32)
    seen[0, 0], seen[0, Observation._fields.index("log_liquidity")] = 1.0, liquidity
    return float(agent.act(seen)[0, 0]) * 4


@pytest.mark.slow
def test_behaviour_cloning_recovers_the_mean_of_the_behaviour() -> None:
    agent = learned("bc", bandit())
    assert pace(agent, 1.0) == pytest.approx(1.0, abs=0.06)
    assert pace(agent, -1.0) == pytest.approx(1.0, abs=0.06)


@pytest.mark.long
@pytest.mark.parametrize(("name", "config"), [("td3-bc", {"alpha": 10.0}), ("bcq", {"latent_clip": 2.0})])
def test_learning_values_finds_better_actions_than_those_it_was_shown_on_average(
    name: str, config: dict[str, Any]
) -> None:
    agent = learned(name, bandit(), **config)
    assert pace(agent, 1.0) == pytest.approx(1.5, abs=0.15)
    assert pace(agent, -1.0) == pytest.approx(0.8, abs=0.15)


@pytest.mark.long
def test_alpha_leads_from_imitation_to_the_optimum() -> None:
    found = [pace(learned("td3-bc", bandit(), alpha=alpha), 1.0) for alpha in (0.01, 1.0, 10.0)]
    assert found[0] == pytest.approx(1.0, abs=0.06)
    assert found[0] < found[1] < found[2]


@pytest.mark.long
@pytest.mark.parametrize("name", ["td3-bc", "bcq"])
def test_actions_stay_where_the_dataset_has_some(name: str) -> None:
    # More always pays more: the answer is the end of what the dataset knows.
    data = bandit()
    more = data._replace(rewards=40.0 * data.actions[:, 0].astype(float))
    agent = learned(name, more)
    paces = np.array([pace(agent, liquidity) for liquidity in (-1.0, 1.0)])
    assert (paces > 1.1).all()
    assert (paces <= 1 + 3 * 0.41).all()


# From a dataset to a run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("datasets") / "twap-v0"
    return save(record([Member("twap", noise=0.4)], episodes=1500, seed=3, **CALM), folder)


def fit(name: str, run: Path, dataset: Path, steps: int = 40, latent_clip: float | None = None, **options: Any) -> Path:
    config: dict[str, Any] = {"hidden": (16,), "batch_size": 32} if steps < 100 else SMALL
    config = config | {"dataset": str(dataset)} | ({} if latent_clip is None else {"latent_clip": latent_clip})
    settings = TrainConfig(steps=steps, intervals=2, num_envs=1, check_episodes=100)
    train(name, run, settings, LEARNERS[name][1](**config), **(CALM | options))
    return run


@pytest.fixture(scope="module")
def whole(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run of a learner that nobody interrupts, made once."""
    return cache(lambda name: fit(name, tmp_path_factory.mktemp("whole") / name, dataset))


@pytest.mark.long
def test_offline_learners_beat_the_policy_that_they_learned_from_and_cloning_does_not(
    dataset: Path, tmp_path: Path
) -> None:
    fit("bcq", tmp_path / "bcq", dataset, 1500, latent_clip=2.0)
    runs = [tmp_path / "bcq", *(fit(name, tmp_path / name, dataset, 1500) for name in ("bc", "td3-bc"))]
    closed = evaluate(["twap", *runs], episodes=1000, seed=9, **CALM).per_agent["gap_closed_percent"]
    assert closed["td3-bc"] > 75
    assert closed["bcq"] > 65
    assert closed["bc"] < 15


@pytest.mark.long
@every_learner
def test_a_run_keeps_the_last_check_the_dataset_and_the_agent(
    name: str, dataset: Path, whole: Callable[[str], Path]
) -> None:
    run = whole(name)
    assert (run / "best/weights.pt").read_bytes() == (run / "last/weights.pt").read_bytes()
    described = yaml.safe_load((run / "config.yaml").read_text())
    assert described["agent_config"]["dataset"] == str(dataset)
    assert described["dataset"]["agents"] == [{"agent": "twap", "weight": 1.0, "noise": 0.4}]
    assert len(described["dataset"]["sha256"]) == 64
    assert pd.read_csv(run / "progress.csv")["steps"].tolist() == [20, 40]
    assert (pd.read_csv(run / "progress.csv")["clipped_percent"] < 1).all()
    agent = load_run(run)
    assert isinstance(agent, Learner)
    assert agent.action_mode == ActionMode("fraction")
    observations = np.random.default_rng(0).uniform(0.0, 1.0, (50, D)).astype(np.float32)
    actions = agent.act(observations)
    assert actions.shape == (50, 1)
    assert ((actions >= 0) & (actions <= 1)).all()
    np.testing.assert_array_equal(agent.act(observations[:7]), actions[:7])  # whoever else is asked


@pytest.mark.long
@pytest.mark.parametrize("name", ["bc", *(pytest.param(name, marks=pytest.mark.long) for name in ("td3-bc", "bcq"))])
def test_a_run_that_goes_on_ends_where_an_uninterrupted_one_does(
    name: str, dataset: Path, whole: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninterrupted, cut = whole(name), tmp_path / "cut"
    cls = LEARNERS[name][0]
    original = cls.learn

    def stops(self: Any, env: Any, steps: int, *rest: Any) -> None:
        if self.steps == 20:
            raise KeyboardInterrupt
        original(self, env, steps, *rest)

    monkeypatch.setattr(cls, "learn", stops)
    with pytest.raises(KeyboardInterrupt):
        fit(name, cut, dataset)
    monkeypatch.setattr(cls, "learn", original)
    resume(cut)
    assert (uninterrupted / "last/weights.pt").read_bytes() == (cut / "last/weights.pt").read_bytes()


def test_the_simulator_selects_only_where_it_is_asked_to() -> None:
    agent = BC(BCConfig(), head_of(ActionMode("fraction"), Order()), Setup(1, 1, 1, 0, "cpu"))
    costs = np.array([20.0, 22.0]), np.zeros(2)
    agent.steps = 10
    assert agent.score(*costs) == -10
    agent.config = replace(agent.config, select="simulator")
    assert agent.score(*costs) == 21.0


@every_learner
def test_without_a_dataset_there_is_one_clear_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{name} learns from a dataset; record one with exec-env collect"):
        train(name, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"volatility": 0.03}, r"Market\.volatility = 0\.02, but the environment's is 0\.03"),
        pytest.param(
            {"shares": 9_000.0}, r"Order\.shares = 200000\.0, but the environment's is 9000\.0", marks=pytest.mark.long
        ),
        pytest.param({"n_steps": 3}, r"Order\.n_steps = 4, but here 3", marks=pytest.mark.long),
        pytest.param(
            {"reward": "shortfall"},
            r"rewards are Reward\(kind='expected'.*, but the environment's are",
            marks=pytest.mark.long,
        ),
        ({"randomise": "stress"}, r"drawn from is none, but the environment's is .*'stress': True"),
        pytest.param(
            {"action": "shares"}, "action 'fraction', but the environment's is 'shares'", marks=pytest.mark.long
        ),
    ],
)
def test_a_dataset_of_another_problem_is_refused_before_anything_is_written(
    options: dict[str, Any], message: str, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        fit("bc", tmp_path / "run", dataset, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_of_drawn_markets_is_refused_on_a_plain_one(tmp_path: Path) -> None:
    drawn = save(record(["twap"], episodes=5, randomise="volatility=0.01:0.03", **CALM), tmp_path / "drawn-v0")
    with pytest.raises(ValueError, match=r"drawn from is .*0\.03.*, but the environment's is none"):
        fit("bc", tmp_path / "run", drawn)
    fit("bc", tmp_path / "run", drawn, randomise="volatility=0.01:0.03")


def test_a_dataset_of_another_tape_with_the_same_averages_is_refused(tape_csv: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"shares": 500, "n_steps": 4}
    frame = pd.read_csv(tape_csv)
    renamed, other = tmp_path / "renamed.csv", tmp_path / "other.csv"
    frame.to_csv(renamed, index=False)
    frame.iloc[[0, 1], frame.columns.get_loc("depth")] = frame["depth"].iloc[[1, 0]].to_numpy()
    frame.to_csv(other, index=False)
    folder = save(record(["twap"], episodes=5, tape=str(tape_csv), **options), tmp_path / "tape-v0")
    agent = BC.build(
        BCConfig(dataset=str(folder)),
        head_of(ActionMode("fraction"), Order(n_steps=4)),
        Setup(1, 1, 1, 0, "cpu"),
    )
    env = "AlmgrenChrissContinuous-v0"
    agent.check_env(gym.make_vec(env, tape=str(renamed), **options).unwrapped)
    with pytest.raises(ValueError, match=r"the tape is .*, but the environment's is .*other"):
        agent.check_env(gym.make_vec(env, tape=str(other), **options).unwrapped)


def test_going_on_with_another_dataset_is_refused(dataset: Path, whole: Callable[[str], Path], tmp_path: Path) -> None:
    run = shutil.copytree(whole("bc"), tmp_path / "run")
    other = save(record(["twap"], episodes=20, **CALM), tmp_path / "other-v0")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace(f"dataset: {dataset}", f"dataset: {other}"))
    with pytest.raises(ValueError, match=r"dataset .*other-v0: has changed since the run began"):
        resume(run)
