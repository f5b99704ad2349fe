"""Training that is really killed goes on and ends, byte for byte, as training that was left alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from exec_env.cli import train

ROOT = Path(__file__).parents[2]
TRAINING = [
    *["ppo", "--steps", "3200", "--num-envs", "16", "--intervals", "20", "--check-episodes", "20", "--quiet"],
    *["--hidden", "8", "--rollout", "9", "--batch-size", "64", "--epochs", "1", "--n-steps", "4", "--shares", "20000"],
]


def intervals(run: Path) -> int:
    """How many the checkpoint holds; it is replaced in one go, so that it can be read at any time."""
    checkpoint = run / "checkpoint.pt"
    return int(torch.load(checkpoint, weights_only=True)["intervals"]) if checkpoint.exists() else 0


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "alone"
    train.main([*TRAINING, "--run", str(folder)])
    return folder


@pytest.mark.long
@pytest.mark.parametrize(
    ("sent", "status"),
    [pytest.param(signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.long), (signal.SIGINT, 130)],
)
def test_a_run_that_was_killed_goes_on_and_ends_as_one_that_was_not(
    sent: signal.Signals, status: int, alone: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        process = subprocess.Popen(
            [sys.executable, "scripts/train.py", *TRAINING, "--run", str(run)],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 60
    while intervals(run) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert 2 <= intervals(run) < 20
    if sent == signal.SIGINT:
        assert err == f"go on with: exec-env train --resume {run}\ninterrupted\n"
    train.main(["--resume", str(run), "--quiet"])
    for file in ("best/weights.pt", "last/weights.pt", "best/agent.yaml", "checkpoint.pt"):
        assert (run / file).read_bytes() == (alone / file).read_bytes(), file
    logs = [pd.read_csv(folder / "progress.csv").drop(columns="seconds") for folder in (run, alone)]
    pd.testing.assert_frame_equal(*logs, check_exact=True)


def test_ctrl_c_says_how_to_go_on_also_while_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "resume", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train.main(["--resume", str(tmp_path)])
    assert capsys.readouterr().err == f"go on with: exec-env train --resume {tmp_path}\n"
