"""What cannot be is refused by name, value and what is allowed: one example of each kind that once was a traceback."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import exec_env
from exec_env.base.csv_files import read_csv
from exec_env.base.errors import InputError
from exec_env.baselines.twap import TWAP
from exec_env.cli.main import run
from exec_env.harness import evaluate
from exec_env.harness.studies.stress_tests import stress
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.scenarios import scenarios

ID = "AlmgrenChriss-v0"


def many() -> Any:
    env = gym.make_vec(ID, 2)
    env.reset(seed=0)
    return env


def one(env_id: str = ID) -> Any:
    env: Any = gym.make(env_id).unwrapped
    env.reset(seed=0)
    return env


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: many().reset(seed=1.5), "seed = 1.5: must be a whole number >= 0, or one for each environment"),
        (lambda: many().reset(seed=np.array(1.0)), "seed = array(1.): must be a whole number >= 0, or one"),
        (lambda: many().reset(seed=[1, 2.5]), "seed = 2.5: must be a whole number >= 0, or one for each"),
        (lambda: many().reset(seed=b"ab"), "seed = b'ab': must be a whole number"),
        (lambda: one().reset(seed=1.5), "seed = 1.5: must be a whole number >= 0, or None"),
        (lambda: one().reset(seed=-1), "seed = -1: must be a whole number >= 0, or None"),
        (lambda: many().reset(options=3), "reset options = 3: must be a dictionary, or None"),
        (lambda: one().reset(options=3), "reset options = 3: must be a dictionary, or None"),
        (lambda: many().step([10**400, 0]), "1e400 or so"),
        (lambda: one().step(10**400), "1e400 or so is outside the space"),
        (lambda: one("AlmgrenChrissContinuous-v0").step([10**400]), "1e400 or so"),
        (lambda: evaluate(["twap"], None), "env_id = None: must be the id of an environment"),
        (lambda: evaluate(None), "agents = None: must be names, run folders or agents"),
        (lambda: evaluate(np.array(1.0)), "agents = array(1.): must be names, run folders or agents"),
        (lambda: evaluate(["é" * 300]), "unknown agent 'ééé"),
        (lambda: evaluate(["twap"], episodes=10**400), "episodes = 1e400 or so: must be a whole number >= 1 and <= 10"),
        (lambda: evaluate(["twap"], n_examples="3"), "n_examples = '3': must be a whole number >= 0"),
        (lambda: evaluate(["twap"], optimum=np.array([])), "optimum = array([], dtype=float64): must be True or False"),
        (lambda: evaluate(["twap"], starts=np.array([])), "starts = array([], dtype=float64): must be 'random' or"),
        (lambda: stress(5), "agents = 5: must be names, run folders or agents"),
        (lambda: stress(["twap"], 5), "among = 5: must be scenarios"),
        (lambda: stress(["twap"], ()), "among = []: must be scenarios, at least one"),
        (lambda: stress(["twap"], ["normal"]), "among = ['normal']: must be scenarios"),
        (lambda: scenarios(["liquidity-collapse"], ["x"]), "severity = 'x': must be a finite number"),
        (lambda: exec_env.register("Odd-v0", np.array([])), "problem = array([], dtype=float64): must be a preset"),
        (lambda: exec_env.make_vec(None), "env_id = None: must be the id of an environment"),
        (lambda: exec_env.make_vec(ID, 10**400), "num_envs = 1e400 or so: must be a whole number >= 1 and <= 10"),
        (lambda: exec_env.make_vec(ID, 2, wrappers="ab"), "wrappers = 'ab': must be a list of wrappers"),
        (lambda: exec_env.make_vec(ID, 2, autoreset_mode=np.array([1, 2])), "autoreset_mode = array([1, 2]): must be"),
        (lambda: Order(n_steps=10**9), "Order.n_steps = 1000000000: must be a whole number >= 2 and <= 1000000"),
        (lambda: Market(volatility=torch.tensor([0.1, 0.2])), "Market.volatility = tensor([0.1000, 0.2000]): must be"),
        (lambda: Market(spread_elasticity=-1e308), "Market.spread_elasticity = -1e+308: must be a finite number"),
        (lambda: Market(volatility=1e-320), "and 0 or 1e-100 to 1e+100 in size"),
    ],
)
def test_arguments_that_cannot_be_are_refused_in_one_sentence(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as raised:
        call()
    assert len(str(raised.value)) <= 2000


def test_numbers_of_numpy_are_seeds_too() -> None:
    env = one()
    first, _ = env.reset(seed=np.int64(3))
    assert (first == env.reset(seed=3)[0]).all()
    assert (many().reset(seed=np.array([3, 4]))[0][0] == first).all()


@pytest.mark.slow
def test_an_agent_that_is_called_as_a_formula_is_escaped_in_every_table(tmp_path: Path) -> None:
    problem: Any = exec_env.envs.registry.problem_of(ID)
    agent = problem.build(TWAP)
    agent.name = "=HYPERLINK(1)"
    folder = evaluate([agent, "pov"], episodes=4).save(tmp_path / "out", plots=False)
    for table in ("per_agent", "per_path", "examples"):
        text = (folder / f"{table}.csv").read_text()
        assert "'=HYPERLINK(1)" in text
        assert not re.search(r"(^|,)=", text, re.MULTILINE)
        assert set(read_csv(folder / f"{table}.csv")["agent"]) == {"=HYPERLINK(1)", "pov"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EFBIG])
def test_a_picture_that_no_disk_can_hold_is_one_line(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    def main(_: Any) -> None:
        raise OSError(number, os.strerror(number), "out/gaps.png")

    with pytest.raises(SystemExit) as ended:
        run(main, [])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: out/gaps.png: cannot be written: {os.strerror(number)}\n"


def test_other_errors_of_the_system_keep_their_traceback() -> None:
    def main(_: Any) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "forgotten")

    with pytest.raises(FileNotFoundError):
        run(main, [])
