"""The command lines, as a user runs them: what they print and write, and one line for what the user can mend."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from exec_env import ActionMode, Order
from exec_env.agents.dqn import DQN, DQNConfig
from exec_env.agents.ppo import PPO, PPOConfig, StablePPO
from exec_env.cli import benchmark, evaluate, export, report, schedule, stress, train
from exec_env.cli.main import COMMANDS
from exec_env.harness.agents import Setup, load_run
from tests.agents.problems import head_of

ROOT = Path(__file__).parents[2]
TINY = ["--n-steps", "4", "--shares", "20000"]
TRAINING = [
    *["--steps", "640", "--num-envs", "16", "--intervals", "2", "--check-episodes", "20"],
    *["--hidden", "8", "--warm-up", "32", "--batch-size", "16", "--update-every", "16"],
]
COLUMNS = ["--columns", "mid=price", "volume=buys + sells"]
COLLAPSE = ["--regimes", "liquidity-collapse"]


def python(*arguments: Any, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Python as a user does."""
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def tape_csv(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    pd.DataFrame(
        {
            "time": pd.date_range("2024-01-02 09:30", periods=60, freq="5min"),
            "price": 50.0 + 0.05 * np.cumsum(rng.standard_normal(60)),
            "spread": 0.02,
            "buys": 60_000.0,
            "sells": 40_000.0,
        }
    ).to_csv(tmp_path / "market.csv", index=False)
    return tmp_path / "market.csv"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Untrained agents as run folders keep them."""
    head, setup = head_of(ActionMode("pace"), Order()), Setup(1000, 1000, 1, 0, "cpu")
    folders = {}
    for cls, config in ((DQN, DQNConfig(hidden=(4,), warm_up=1)), (PPO, PPOConfig(hidden=(4,)))):
        name = cls.__name__.lower()
        folders[name] = tmp_path_factory.mktemp("runs") / name
        cls.build(config, head, setup).save(folders[name])  # type: ignore[attr-defined]
    return folders


# As a user runs them


@pytest.mark.slow
def test_a_run_is_exported_for_the_library(saved: dict[str, Path], tmp_path: Path, call: Callable[..., Any]) -> None:
    status, out, err = call(export, saved["ppo"], tmp_path / "model")
    assert (status, out, err) == (0, f"model: {tmp_path / 'model.zip'}\n", "")
    observations = np.random.default_rng(0).uniform(size=(50, 10)).astype(np.float32)
    actions, _ = StablePPO.load(tmp_path / "model.zip", device="cpu").predict(observations, deterministic=True)
    np.testing.assert_array_equal(actions, load_run(saved["ppo"]).act(observations))


@pytest.mark.slow
def test_training_then_going_on_then_evaluating_beside_baselines(tmp_path: Path, call: Callable[..., Any]) -> None:
    folder = tmp_path / "run"
    status, said, err = call(train, "dqn", "--run", folder, *TRAINING, *TINY, "--quiet")
    assert status == 0, err
    assert f"run folder: {folder}" in said
    assert f"compare it: exec-env evaluate twap pov almgren-chriss {folder}" in said
    assert {"config.yaml", "best", "last", "progress.csv"} <= {p.name for p in folder.iterdir()}
    described = yaml.safe_load((folder / "config.yaml").read_text())
    assert described["options"] == {"n_steps": 4, "shares": 20_000.0}
    assert described["agent_config"]["hidden"] == [8]
    weights = (folder / "last/weights.pt").read_bytes()

    status, _, err = call(train, "--resume", folder)
    assert status == 0, err
    assert (folder / "last/weights.pt").read_bytes() == weights

    out = tmp_path / "out"
    status, compared, err = call(evaluate, "twap", folder, "--episodes", 50, "--out", out, *TINY)
    assert status == 0, err
    assert "Traceback" not in err
    for text in ("twap", "run", "lower bound", "bps of the arrival notional", f"tables and pictures: {out}"):
        assert text in compared
    assert list(pd.read_csv(out / "per_agent.csv")["agent"].sort_values()) == ["run", "twap"]
    assert (out / "objective.png").exists()


@pytest.mark.long
def test_evaluating_on_a_tape_as_a_module_says_how_each_column_was_used(tmp_path: Path, tape_csv: Path) -> None:
    out = tmp_path / "out"
    options = ["--tape", tape_csv, *COLUMNS, "--starts", "rolling", "--side", "buy", "--out", out, *TINY, "--quiet"]
    done = python("-m", "exec_env.cli.evaluate", "twap", "pov", *options)
    assert done.returncode == 0, done.stderr
    assert "volume  = buys + sells" in done.stdout
    assert "no bound: the paths are recorded" in done.stdout
    assert yaml.safe_load((out / "evaluation.yaml").read_text())["episodes"] == 57
    assert done.stderr == ""


@pytest.mark.long
def test_an_agent_of_the_users_own_is_found_in_the_folder_he_is_in(tmp_path: Path) -> None:
    (tmp_path / "my_agents.py").write_text(
        "import numpy as np\n\n\nclass Patient:\n    action_mode = 'pace'\n\n"
        "    def __init__(self, market, order):\n        pass\n\n"
        "    def act(self, observations):\n        return np.full(len(observations), 3)\n"
    )
    done = python(
        ROOT / "scripts" / "evaluate.py", "twap", "my_agents:Patient", *TINY, "--episodes", 20, "--quiet", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "patient" in done.stdout.lower()
    assert (tmp_path / "runs" / "evaluation-1" / "per_path.csv").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_report_of_a_tape_is_one_page_and_the_table_is_printed(
    tmp_path: Path, tape_csv: Path, call: Callable[..., Any]
) -> None:
    out = tmp_path / "pages" / "report.html"
    options = ["--tape", tape_csv, *COLUMNS, "--episodes", 20, "--side", "buy", "--out", out, *TINY, "--quiet"]
    status, said, err = call(report, "pov", "twap", *options)
    assert (status, err) == (0, "")
    assert "no bound: the paths are recorded" in said
    assert f"report: {out}" in said
    assert '<table id="summary">' in out.read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_training_plays_the_first_rows_of_a_tape_and_the_others_are_evaluated(
    tmp_path: Path, tape_csv: Path, call: Callable[..., Any]
) -> None:
    tape = ["--tape", tape_csv, *COLUMNS, *TINY, "--split", 0.5, "--purge", 7, "--quiet"]
    small = ["--steps", 640, "--intervals", 1, "--num-envs", 8, "--check-episodes", 20, "--paths", 16]
    status, _, err = call(train, "pathwise", *tape, *small, "--run", tmp_path / "run")
    assert status == 0, err
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (kept["options"]["tape_split"], kept["options"]["tape_purge"], kept["tape"]["rows"]) == (0.5, 7, [0, 30])
    status, out, err = call(evaluate, tmp_path / "run", *tape, "--episodes", 9, "--out", tmp_path / "later")
    assert status == 0, err
    assert "rows 38 to 60" in out
    assert "it has seen them" not in out
    assert pd.read_csv(tmp_path / "later" / "per_path.csv")["row"].min() >= 37
    again = ["--part", "training", "--episodes", 9, "--out", tmp_path / "seen"]
    assert "run was trained on rows 1 to 30 of this tape" in call(evaluate, tmp_path / "run", *tape, *again)[1]


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_under_stress_agents_that_nobody_named_and_that_cannot_be_are_left_out(
    tmp_path: Path, call: Callable[..., Any]
) -> None:
    steep = ["--permanent-impact", 1e-4, "--episodes", 5, "--regimes", "normal", *TINY, "--quiet"]
    status, out, err = call(stress, *steep, "--out", tmp_path / "out")
    assert status == 0, err
    assert "almgren-chriss left out: " in err
    assert "almgren-chriss" not in out
    assert "twap" in out
    status, _, err = call(stress, "twap", "almgren-chriss", *steep, "--told")
    assert status == 2
    assert err.startswith("error: ")


@pytest.mark.slow
def test_agents_are_put_under_stress_on_a_tape(tmp_path: Path, tape_csv: Path, call: Callable[..., Any]) -> None:
    out = tmp_path / "out"
    regimes = [
        "--randomise",
        "stress",
        "--regimes",
        "normal",
        "liquidity-collapse",
        "--severity",
        "0.5",
        "0.1",
        "--onset-end",
        "0.9",
    ]
    tape = ["--tape", tape_csv, *COLUMNS, "--shares", "50000", "--n-steps", "10"]
    options = [*regimes, *tape, "--episodes", "30", "--out", out, "--quiet"]
    status, said, err = call(stress, "twap", "pov", "--told", *options)
    assert status == 0, err
    assert "liquidity-collapse × 0.1: no bound" in said
    assert "randomised: no bound" in said
    assert {p.name for p in out.iterdir()} >= {"stress.csv", "best.csv", "heat_map.png", "severity.png"}


@pytest.mark.slow
def test_a_wrong_name_is_one_line_and_exit_status_two(tmp_path: Path) -> None:
    done = python("scripts/evaluate.py", "twop", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: unknown agent 'twop'; did you mean 'twap'?")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


# Help


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "texts"),
    [
        (evaluate, ["Examples:", "--volatility", "--max-participation", "[1/√day]", "AlmgrenChrissClassic-v0"]),
        (train, ["Examples:", "exec-env train dqn --help", "pathwise      needs torch", "--steps", "--resume"]),
        (report, ["Examples:", "--volatility", "twap and adaptive are added", "--columns", "report.html"]),
        (benchmark, ["Examples:", "--num-envs", "CartPole"]),
        (stress, ["Examples:", "--severity", "--onset-end", "oracle", "--volatility", "--tape"]),
        (export, ["Examples:", "runs/ppo-1", "PPO.load", "Run folder", "only load such files from people you trust"]),
    ],
)
def test_help_teaches_by_examples_and_units(script: Any, texts: list[str], call: Callable[..., Any]) -> None:
    status, out, _ = call(script, "--help")
    assert status == 0
    for text in texts:
        assert text in out


def headings(out: str) -> set[str]:
    """Of the groups of options: in a box, or above a line of dashes where boxes cannot be drawn."""
    return {*re.findall(r"╭─ (.*?) ─", out), *re.findall(r"^ (\S.*?) *\n -{9,} *$", out, flags=re.M)}


@pytest.mark.slow
def test_help_of_training_shows_the_options_of_the_agent_that_was_named_and_of_no_other(
    call: Callable[..., Any],
) -> None:
    of_none, of_dqn = call(train, "--help")[1], call(train, "dqn", "--help")[1]
    assert ("--warm-up" in of_none, "--dataset STR" in of_none, "agent" in of_none) == (False, False, True)
    for heading in ("agent dqn options", "training options", "tape options", "market options", "order options"):
        assert heading in headings(of_dqn)
    assert "--warm-up" in of_dqn
    assert "--dataset STR" not in of_dqn


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_names_the_command_and_has_headings_that_say_something(name: str, call: Callable[..., Any]) -> None:
    path = str(ROOT / "scripts" / f"{name}.py")  # as `python scripts/NAME.py`, which runs the same
    status, out, err = call(SimpleNamespace(main=lambda _: runpy.run_path(path, run_name="__main__")), "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: exec-env {name} ")
    assert f"\n  exec-env {name} " in out + " "
    assert (
        {"options"}
        <= headings(out)
        <= {
            *(
                "positional arguments",
                "options",
                "reading options",
                "problem options",
                "market options",
                "order options",
                "tape options",
            ),
            *("reward options", "training options", "workers options", "study options"),
        }
    )
    assert "scripts/" not in out


def test_help_shows_the_values_of_the_preset_that_was_named(call: Callable[..., Any]) -> None:
    assert "(default: 1000000.0)" in call(evaluate, "--preset", "almgren-chriss-2001", "--help")[1]
    assert "(default: 1000000.0)" not in call(evaluate, "--help")[1]


# What the user can mend


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        (evaluate, ["twop"], "error: unknown agent 'twop'; did you mean 'twap'?"),
        (evaluate, [], "error: no agents to evaluate: name at least one"),
        (evaluate, ["dqn"], "error: agent 'dqn' has to be trained first: name its run folder instead"),
        (evaluate, ["runs/none"], "error: agent 'runs/none': no such run folder"),
        (evaluate, ["{tmp}"], "is {tmp} a run folder?"),
        (evaluate, ["nowhere:Agent"], "error: agent = 'nowhere:Agent': there is no module 'nowhere'"),
        (evaluate, ["exec_env:PRESETS"], "is no agent: it needs action_mode and act"),
        (evaluate, ["twap", "--env", "Almgren-v0"], "error: unknown environment 'Almgren-v0'; did you mean"),
        (evaluate, ["twap", "--preset", "clasic"], "error: unknown preset 'clasic'; did you mean 'classic'?"),
        (evaluate, ["twap", "--out", "{tmp}"], "error: --out {tmp} exists: choose another folder"),
        (evaluate, ["twap", "--episodes", "0"], "error: episodes = 0: must be a whole number >= 1"),
        (evaluate, ["twap", "--seed", "-1"], "error: seed = -1: must be a whole number >= 0"),
        (evaluate, ["twap", "--tape", "{tmp}/none.csv"], "error: {tmp}/none.csv: no such file"),
        (evaluate, ["twap", "--tape", "{tape}"], "error: {tape}: columns 'mid', 'volume' are missing"),
        (
            evaluate,
            ["twap", "--tape", "{tape}", "--columns", "mid=prise", "volume=buys"],
            "error: {tape}: column 'mid' as 'prise' is missing",
        ),
        (evaluate, ["twap", "--tape", "{tape}", "--columns", "mid"], "error: --columns 'mid': must read"),
        (evaluate, ["twap", "--columns", "mid=price"], "error: --columns: there is no --tape"),
        (evaluate, ["twap", "--split", "0.5"], "error: --split: there is no --tape"),
        (evaluate, ["twap", "--fills", "book"], "error: --fills: there is no --tape"),
        (evaluate, ["twap", "--tape", "{tape}", *COLUMNS, "--purge", "3"], "error: --purge = 3: there is no --split"),
        (evaluate, ["twap", "--tape", "{tape}", *COLUMNS, "--split", "2"], "error: split = 2.0: must be between"),
        (evaluate, ["twap", "--tape", "{tape}", *COLUMNS, "--fills", "book"], "error: {tape}: fills = 'book': needs"),
        (evaluate, ["twap", "--tape", "{tape}", *COLUMNS, "--shares", "1e9"], "error: Order.shares = 1e+09"),
        (
            train,
            [],
            "error: name an agent to train: bc, bcq, ddqn, dqn, pathwise, pathwise-gru, ppo, recurrent-ppo, td3-bc; "
            "or --resume a run",
        ),
        (train, ["--seed", "3", "dqn"], "error: name the agent first: exec-env train dqn ..., because the options"),
        (train, ["dqn", "--resume", "{tmp}"], "error: --resume goes with --quiet only, not with dqn"),
        (train, ["--resume", "{tmp}", "--seed", "3"], "error: --resume goes with --quiet only, not with --seed"),
        (train, ["twap"], "error: unknown learning agent 'twap'"),
        (report, [], "error: no agents to evaluate: name at least one"),
        (report, ["twop"], "error: unknown agent 'twop'; did you mean 'twap'?"),
        (report, ["runs/none"], "error: agent 'runs/none': no such run folder"),
        (report, ["twap", "--out", "{tape}"], "error: {tape} exists: choose another file"),
        (report, ["twap", "--out", "{tape}/page.html"], "error: {tape}/page.html: cannot be created"),
        (report, ["twap", "--episodes", "0"], "error: episodes = 0: must be a whole number >= 1"),
        (report, ["twap", "--tape", "{tape}"], "error: {tape}: columns 'mid', 'volume' are missing"),
        (train, ["dqnn"], "error: unknown learning agent 'dqnn'; did you mean 'dqn'?"),
        (train, ["dqn", "--run", "{tmp}"], "error: {tmp} exists: choose another folder"),
        (train, ["--resume", "{tmp}"], "error: {tmp}/config.yaml: no such file; is {tmp} a run folder?"),
        (train, ["dqn", "--action", "fraction", "--run", "{tmp}/run"], "error: action 'fraction': DQN needs"),
        (train, ["dqn", "--device", "toaster", "--run", "{tmp}/run"], "toaster"),
        (train, ["dqn", "--randomise", "stres"], "error: randomise: unknown ranges 'stres'; did you mean 'stress'?"),
        (evaluate, ["twap", "--randomise", "volatility=2:1"], "the lowest value is above the highest"),
        (schedule, ["--randomise", "stress"], "error: --randomise: a schedule is that of one market"),
        (stress, ["twop"], "error: unknown agent 'twop'; did you mean 'twap'?"),
        (stress, ["--regimes", "panic"], "error: unknown regime 'panic'"),
        (stress, ["--out", "{tmp}"], "error: --out {tmp} exists: choose another folder"),
        (stress, ["--stress", "extreme-shock"], "error: --stress: is what this command line varies; use --regimes"),
        (stress, ["--severity", "0.2"], "error: --severity: needs --regimes, because what is severe for one is calm"),
        (stress, [*COLLAPSE, "--severity", "0"], "error: severity = 0.0: must be in [1e-06, 1e+06]"),
        (stress, [*COLLAPSE, "--severity", "0.2", "0.2"], "error: regime 'liquidity-collapse × 0.2' is named twice"),
        (stress, ["--regimes", "normal", "normal"], "error: regime 'normal' is named twice"),
        (stress, ["--told", "nobody"], "error: unknown agent 'nobody'"),
        (stress, ["--episodes", "0"], "error: episodes = 0: must be a whole number >= 1"),
        (stress, ["--seed", "-1"], "error: seed = -1: must be a whole number >= 0"),
        (stress, ["--onset", "0.9", "--onset-end", "0.1"], "stress_onset_end = 0.1: must not be before"),
        (export, ["{tmp}", "model.zip"], "is {tmp} a run folder?"),
        (export, ["{dqn}", "model.zip"], "error: {dqn}: its agent, a DQN, is not on Stable-Baselines3"),
        (export, ["{ppo}", "{tape}"], "error: {tape} exists: choose another file, so that nothing is overwritten"),
        (export, ["{ppo}", "nowhere/model.zip"], "error: nowhere: no such folder"),
        (benchmark, ["--ppo-steps", "100"], "error: --ppo-steps 100: must be a multiple of 256"),
        (benchmark, ["--num-envs", "64", "0"], "error: num_envs = 0: must be"),
        (benchmark, ["--repeats", "0"], "error: repeats = 0: must be"),
        (benchmark, ["--out", "{tmp}"], "error: {tmp} exists: choose another folder"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_status_two(
    script: Any,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    tape_csv: Path,
    saved: dict[str, Path],
    call: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = {"tmp": tmp_path, "tape": tape_csv, **saved}
    monkeypatch.setattr(benchmark, "median_ns", lambda *_: pytest.fail("timed before --out was checked"))
    monkeypatch.chdir(tmp_path)
    status, _, err = call(script, *(text.format(**names) for text in arguments))
    assert status == 2
    assert message.format(**names) in err
    assert err.startswith("error:")
    assert len(err.strip().split("\n")) == 1
    assert {p.name for p in tmp_path.iterdir()} == {"market.csv"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        (evaluate, ["twap", "--shares", "0"], "Order.shares = 0.0: must be a finite number > 0"),
        (evaluate, ["twap", "--shares", "many"], "Order.shares = 'many': must be a finite number > 0, or with a unit"),
        (evaluate, ["twap", "--sharse", "3"], "--shares"),
        (evaluate, ["twap", "--side", "hold"], "--side"),
        (evaluate, ["twap", "--max-participation", "1.5"], "Order.max_participation = 1.5: must be in (0, 1], or None"),
        (train, ["dqn", "--steps", "0"], "TrainConfig.steps = 0: must be"),
        (train, ["dqn", "--gamma", "2"], "DQNConfig.gamma = 2.0: must be in [0, 1]"),
        (train, ["dqn", "--volatility", "-1"], "Market.volatility = -1.0: must be a finite number >= 0"),
    ],
)
def test_an_option_that_cannot_be_is_explained_and_exit_status_two(
    script: Any, arguments: list[str], message: str, call: Callable[..., Any]
) -> None:
    status, out, err = call(script, *arguments)
    text = " ".join((out + err).replace("│", " ").split())
    assert status == 2
    assert message in text
    assert "Traceback" not in text


# Options reach the problem


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_an_option_equal_to_the_default_still_wins_over_the_tape(
    tmp_path: Path, tape_csv: Path, call: Callable[..., Any]
) -> None:
    options = ["--tape", tape_csv, *COLUMNS, *TINY, "--episodes", 5, "--quiet", "--out", tmp_path / "out"]
    status, out, err = call(evaluate, "twap", *options, "--volatility", "0.02")
    assert status == 0, err
    assert "volatility 0.02 per" in out


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_the_tape_is_described_with_the_market_of_the_environment_that_was_named(
    tmp_path: Path, tape_csv: Path, call: Callable[..., Any]
) -> None:
    options = ["--tape", tape_csv, *COLUMNS, *TINY, "--episodes", 5, "--quiet", "--out", tmp_path / "out"]
    status, out, err = call(evaluate, "twap", *options, "--env", "AlmgrenChrissClassic-v0")
    assert status == 0, err
    assert "κ = 0;" in out


def test_ctrl_c_is_no_traceback(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "evaluate", interrupted)
    status, _, err = call(evaluate, "twap")
    assert (status, err) == (130, "interrupted\n")
