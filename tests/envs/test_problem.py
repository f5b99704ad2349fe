"""The protocol of problems: tiny ones of another kind run through everything that knows a problem."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import exec_env
from exec_env.agents.dqn import DQNConfig
from exec_env.agents.ppo import PPOConfig
from exec_env.base.errors import InputError, NoBound, UnknownOption
from exec_env.envs.registry import ENVIRONMENTS, get_spec
from exec_env.harness import TrainConfig, evaluate, train
from exec_env.harness.evaluation import bound
from exec_env.harness.reports.report import write_report
from exec_env.harness.studies.stress_tests import stress
from tests.conftest import play

IDS = {"TinyBasket-v0": "basket", "TinyTwoOrders-v0": "two_orders", "TinyArrivals-v0": "arrivals"}


@pytest.fixture(autouse=True)
def registered() -> Any:
    """The tiny problems, for one test: contract tests of other files run over our own ids alone."""
    for env_id, factory in IDS.items():
        exec_env.register(env_id, f"tests.envs.tiny:{factory}")
    yield
    for env_id in (*IDS, "Mine-v0"):
        ENVIRONMENTS.pop(env_id, None)
        gym.registry.pop(env_id, None)


@pytest.mark.parametrize("env_id", IDS)
def test_a_problem_of_ones_own_is_a_gymnasium_environment(env_id: str) -> None:
    check_env(gym.make(env_id).unwrapped, skip_render_check=True)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize("env_id", IDS)
def test_the_vector_environment_plays_what_single_ones_play(env_id: str, mode: str) -> None:
    vector = gym.make_vec(env_id, num_envs=3, autoreset_mode=mode)
    vector.single_action_space.seed(4)
    rng = np.random.default_rng(5)
    single = [gym.make(env_id) for _ in range(3)]
    seen, _ = vector.reset(seed=7)
    for i, env in enumerate(single):
        np.testing.assert_array_equal(env.reset(seed=7 + i)[0], seen[i])
    resting = np.zeros(3, bool)
    for _ in range(40):
        actions = np.stack([vector.single_action_space.sample() for _ in range(3)])
        if not isinstance(vector.single_action_space, gym.spaces.Discrete):
            actions = rng.random(actions.shape).astype(np.float32)
        seen, rewards, over, _, _ = vector.step(actions)
        for i, env in enumerate(single):
            if resting[i]:
                expected, reward = env.reset()[0], 0.0
                ended = False
            else:
                expected, reward, ended, _, _ = env.step(actions[i])
                if ended and mode == "SameStep":
                    expected = env.reset()[0]
            assert rewards[i] == pytest.approx(reward, abs=1e-12)
            assert over[i] == ended
            np.testing.assert_allclose(seen[i], expected, rtol=1e-6)
            resting[i] = ended and mode == "NextStep"


@pytest.mark.parametrize("env_id", IDS)
def test_components_add_up_to_the_shortfall_and_rewards_to_the_objective(env_id: str) -> None:
    env = gym.make(env_id)
    env.action_space.seed(0)
    steps = play(env, lambda _: env.action_space.sample(), seed=3)
    problem = env.unwrapped.problem
    assert steps[-1]["shortfall_bps"] == pytest.approx(sum(s[name] for s in steps for name in problem.components))
    assert steps[-1]["objective_bps"] == pytest.approx(-sum(s["reward"] for s in steps))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env_id", "agent", "settings"),
    [
        ("TinyBasket-v0", "ppo", PPOConfig(rollout=8, batch_size=64, hidden=(8,))),
        ("TinyArrivals-v0", "dqn", DQNConfig(hidden=(8,), warm_up=64, batch_size=16)),
        pytest.param(
            *("TinyTwoOrders-v0", "dqn", DQNConfig(hidden=(8,), warm_up=64, batch_size=16)), marks=pytest.mark.long
        ),
        pytest.param(
            *("TinyArrivals-v0", "ppo", PPOConfig(rollout=8, batch_size=64, hidden=(8,))), marks=pytest.mark.long
        ),
    ],
)
def test_training_evaluation_stress_and_report_know_a_problem_by_the_protocol_alone(
    env_id: str, agent: str, settings: Any, tmp_path: Path
) -> None:
    config = TrainConfig(env_id, steps=512, intervals=2, num_envs=16, check_episodes=8)
    learner = train(agent, tmp_path / "run", config, settings)
    result = evaluate(["even", tmp_path / "run", learner], env_id, episodes=40)
    assert set(result.per_agent.index) == {"even", "run", agent}
    sums = result.per_path[list(result.problem.components)].sum(axis=1)
    np.testing.assert_allclose(sums, result.per_path["shortfall"], atol=1e-9)
    under = stress(["even", tmp_path / "run"], None, env_id, episodes=20)
    assert set(under.table["label"]) == {"normal", "storm × 4"}
    write_report([tmp_path / "run"], tmp_path / "report.html", env_id, episodes=20)
    page = (tmp_path / "report.html").read_text()
    assert env_id in page
    assert "even" in page


def test_two_orders_cost_what_is_solved_by_hand_and_a_stress_changes_it() -> None:
    """Each order of 40 lots sells 20, 10, 5 and a block of 5: 0.01 (400 + 100 + 25 + 3 · 25) $, twice, of 800 $."""
    found = stress(["even"], None, "TinyTwoOrders-v0", episodes=400)
    by_label = found.table.set_index("label")["objective_mean"]
    assert by_label["normal"] == pytest.approx(150.0, rel=0.02)
    assert by_label["storm × 4"] != by_label["normal"]


def test_the_even_basket_costs_what_is_solved_by_hand() -> None:
    """Four even slices: impact Σ 0.001 v², risk 1e-4 Σ x²; notional 100 · 10 + 300 · 20 = 7000."""
    impact = 4 * 0.001 * (25**2 + 75**2)
    risk = 1e-4 * sum((100 * k / 4) ** 2 + (300 * k / 4) ** 2 for k in (3, 2, 1))
    result = evaluate(["even"], "TinyBasket-v0", episodes=3)
    assert result.per_agent.loc["even", "objective_mean"] == pytest.approx((impact + risk) / 7000 * 1e4, rel=1e-6)


def test_a_problem_without_a_bound_says_so_and_one_with_a_bound_has_it() -> None:
    assert bound("TinyBasket-v0").value_bps == 0.0
    with pytest.raises(NoBound, match="this problem has none"):
        bound("TinyTwoOrders-v0")
    assert evaluate(["even"], "TinyTwoOrders-v0", episodes=2).bound_bps is None


def test_what_a_problem_does_not_have_is_refused_in_one_sentence(tmp_path: Path) -> None:
    problem = gym.make("TinyBasket-v0").unwrapped.problem
    with pytest.raises(InputError, match="cannot be driven live"):
        problem.live(None)
    with pytest.raises(InputError, match="has no market of tensors"):
        train("pathwise", tmp_path / "run", TrainConfig("TinyBasket-v0", steps=2_000_000, num_envs=16))
    assert not (tmp_path / "run").exists()
    with pytest.raises(UnknownOption, match="unexpected keyword argument 'volatilty'; did you mean 'volatility'"):
        gym.make("TinyBasket-v0", volatilty=0.1)


@pytest.mark.slow
def test_an_id_of_ones_own_works_by_preset_by_factory_and_by_gymnasiums_own_register() -> None:
    exec_env.register("Mine-v0", "classic", shares=1000.0)
    assert gym.make("Mine-v0").unwrapped.order.shares == 1000.0
    assert evaluate(["twap"], "Mine-v0", episodes=4).problem.order.shares == 1000.0
    with pytest.raises(InputError, match="registered already"):
        exec_env.register("Mine-v0", "default")
    gym.register("Theirs-v0", entry_point="exec_env.envs.single:ExecutionEnv", kwargs={"shares": 500.0})
    try:
        assert evaluate(["twap"], "Theirs-v0", episodes=4).problem.order.shares == 500.0
        assert get_spec("Theirs-v0").options == {"shares": 500.0}
    finally:
        gym.registry.pop("Theirs-v0")


def test_an_id_of_a_module_imports_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_markets.py").write_text("import exec_env\nexec_env.register('Mine-v0', 'classic', shares=123.0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert evaluate(["twap"], "my_markets:Mine-v0", episodes=4).problem.order.shares == 123.0
    with pytest.raises(InputError, match="there is no module 'my_marketz'"):
        evaluate(["twap"], "my_marketz:Mine-v0", episodes=4)


@pytest.mark.parametrize(
    ("problem", "why"),
    [
        (lambda: None, "cannot be kept in a file"),
        ("tests.envs.tiny:nothing", "has no 'nothing'"),
        ("tests.envs.tiny:Even", "missing 2 required|which is no exec_env.Problem"),
        (3, "must be a preset, a factory"),
        ("clasic", "did you mean 'classic'"),
    ],
)
def test_a_problem_that_cannot_be_made_is_refused_when_it_is_registered(problem: Any, why: str) -> None:
    with pytest.raises((InputError, TypeError), match=why):
        exec_env.register("Mine-v0", problem)
    assert "Mine-v0" not in gym.registry


@pytest.mark.parametrize("env_id", ["bad id", "NoVersion", "Two:Parts-v0", 3])
def test_an_id_that_cannot_be_is_refused_and_nothing_is_kept(env_id: Any) -> None:
    with pytest.raises(InputError, match="must be a name and a version, such as 'MyExec-v0'"):
        exec_env.register(env_id, "classic")
    assert env_id not in ENVIRONMENTS


def test_an_id_that_cuts_episodes_short_is_refused() -> None:
    gym.register("Cut-v0", entry_point="exec_env.envs.single:ExecutionEnv", max_episode_steps=5)
    try:
        with pytest.raises(InputError, match="max_episode_steps cuts episodes short"):
            evaluate(["twap"], "Cut-v0", episodes=2)
    finally:
        gym.registry.pop("Cut-v0")


def test_a_reward_that_is_no_number_is_refused() -> None:
    env = gym.make("TinyTwoOrders-v0", reward=lambda fill: float("nan")).unwrapped
    env.reset(seed=0)
    with pytest.raises(InputError, match="reward = .*: returned nan: must be finite"):
        env.step(2)


def test_an_agent_with_a_memory_that_returns_none_is_a_type_error_of_its_own() -> None:
    class Forgetful:
        action_mode = "quarters"

        def initial_state(self, n: int) -> int:
            return 0

        def act(self, observations: np.ndarray, state: int) -> np.ndarray:
            return np.zeros(len(observations), int)

    with pytest.raises(TypeError, match=r"Forgetful\.act: has a memory, so it must return \(actions, state\)"):
        evaluate([Forgetful()], "TinyTwoOrders-v0", episodes=2)
