"""The state of a live order: killed at any moment and taken up again, no share is sold twice and none is lost."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from exec_env.base.errors import InputError
from exec_env.base.files import held, read_json
from exec_env.baselines.twap import TWAP
from exec_env.cli import live
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.live import LiveExecutor
from tests.conftest import recorded_slices

ROOT = Path(__file__).parents[2]
N = 20
OPTIONS = ("twap", "--shares", "10000", "--n-steps", str(N), "--lot-size", "100")


def snapshot(step: int) -> dict[str, Any]:
    hour, minute = divmod(30 + 5 * step, 60)
    return {
        "time": f"2026-01-05T{9 + hour:02}:{minute:02}:00",
        "mid": 100.0 - 0.01 * step,
        "spread": 0.02,
        "volume": 6e4,
    }


def lines(*messages: dict[str, Any]) -> str:
    return "\n".join(map(json.dumps, messages)) + "\n"


class Exchange:
    """Fills each child order once, whatever is sent to it under the same number; some in two parts, some in part."""

    def __init__(self) -> None:
        self.orders: dict[int, float] = {}

    def fills(self, child: dict[str, Any]) -> list[dict[str, Any]]:
        number, shares = child["child"], child["shares"]
        assert self.orders.setdefault(number, shares) == shares  # the same number is the same order
        if number % 3 == 0:
            return [{"fill": shares - min(shares, 100), "price": 99.9, "child": number}]
        if number % 3 == 1:
            first = shares - min(shares, 100)
            parts = ({"fill": first, "more": True}, {"fill": shares - first})
            return [{**part, "price": 99.8, "id": f"{number}-{i}"} for i, part in enumerate(parts)]
        return [{"fill": shares, "price": 99.9}]

    @property
    def sold(self) -> float:
        return sum(fill["fill"] for n, s in self.orders.items() for fill in self.fills({"child": n, "shares": s}))


def test_an_order_that_is_cut_off_after_any_line_goes_on_from_its_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exchange, order = Exchange(), Order(shares=1000.0, n_steps=5, lot_size=100.0)
    rng, path, told, step = random.Random(0), tmp_path / "order.json", 0, 0
    for _ in range(40):
        driven = LiveExecutor(TWAP(Market(), order), order)
        kept = live.Kept(path, driven, {"agent": "twap"})
        if driven.done:
            break
        # The last snapshot again, in case that nobody heard the answer; cut off after a few lines.
        step = max(len(driven.children) - 1, 0)
        for _ in range(rng.randrange(1, 6)):
            if driven.done or step >= 5:
                break
            line = BytesIO(json.dumps(snapshot(step)).encode())
            live.drive(driven, line, False, lambda _: None, kept.save)
            child = json.loads(capsys.readouterr().out)
            fills = exchange.fills(child)
            told = rng.randrange(len(fills) + 1) if rng.random() < 0.5 else len(fills)
            for fill in fills[:told]:
                live.drive(driven, BytesIO(json.dumps(fill).encode()), False, lambda _: None, kept.save)
                assert capsys.readouterr().out == ""
            if told < len(fills):
                break
            step += 1
    assert driven.done
    assert driven.report()["traded"] == exchange.sold
    assert driven.report()["traded"] + driven.report()["left"] == 1000.0


@pytest.mark.slow
def test_the_state_is_whole_and_the_command_goes_on_from_it(tmp_path: Path, call: Callable[..., Any]) -> None:
    state, order = tmp_path / "order.json", (*OPTIONS[:4], "4", "--assume-filled")
    told = lines(*map(snapshot, range(4)))
    _, whole, _ = call(live, *order, text=told)
    first = (*order, "--state", str(state))
    status, out, err = call(live, *first, text=lines(snapshot(0), snapshot(1)))
    assert status == 0, err
    assert set(read_json(state, "a state")) == {"settings", "events"}
    status, out, err = call(live, *first, text=told)  # the whole input again
    assert status == 0, err
    begun, *rest = map(json.loads, out.splitlines())
    assert begun["resumed"]["traded"] == 5000.0
    assert begun["resumed"]["child"] == 2
    assert rest == list(map(json.loads, whole.splitlines()))
    status, out, err = call(live, *first, text=told)
    assert [next(iter(json.loads(line))) for line in out.splitlines()] == ["resumed", "done"]
    status, out, err = call(live, *first[:2], "20000", *first[3:], text=told)
    assert (status, out) == (2, "")
    assert "that order has order.shares = 10000.0, not 20000.0" in err


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"settings": {}, "events": [{"fill": 1}]}', "\udcff"])
def test_what_is_no_state_is_refused_and_stays(content: str, tmp_path: Path) -> None:
    path, order = tmp_path / "order.json", Order(shares=1000.0, n_steps=4)
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match="not the state of an order"):
        live.Kept(path, LiveExecutor(TWAP(Market(), order), order), {})
    assert path.read_bytes() == content.encode(errors="surrogateescape")


def test_two_processes_do_not_drive_one_order(tmp_path: Path) -> None:
    path = tmp_path / "order.json"
    with held(path), pytest.raises(InputError, match="another process goes on with it"), held(path):
        pass
    with held(path):
        pass


def test_a_replay_is_a_dry_run_on_a_tape(tmp_path: Path, call: Callable[..., Any]) -> None:
    recorded_slices(40).to_csv(tmp_path / "market.csv", index=False)
    order = ("twap", "--shares", "10000", "--n-steps", "4", "--replay", str(tmp_path / "market.csv"))
    status, out, err = call(live, *order, "--limit-price", "2", "--tick-size", "0.01")
    assert status == 0, err
    *steps, report = map(json.loads, out.splitlines())
    assert [step["shares"] for step in steps[::2]] == [2500.0] * 4
    assert [step["fill"] for step in steps[1::2]] == [2500.0] * 4
    assert all(round(100 * step["limit"], 9) % 1 == 0 for step in steps[::2])
    assert report["done"]
    assert report["left"] == 0.0
    status, out, err = call(live, *order, "--assume-filled")
    assert (status, out) == (2, "")
    assert "--assume-filled: beside --replay" in err


def test_a_limit_that_rests_is_not_assumed_filled(call: Callable[..., Any]) -> None:
    status, _, err = call(live, "twap", "--assume-filled", "--limit-price", "mid", text="")
    assert status == 2
    assert "--limit-price mid: such an order rests" in err


@pytest.mark.long
def test_killed_at_thirty_random_moments_no_share_is_sold_twice_and_none_is_lost(tmp_path: Path) -> None:
    exchange, rng, state = Exchange(), random.Random(1), tmp_path / "order.json"
    command = [sys.executable, "-m", "exec_env", "live", *OPTIONS, "--state", str(state)]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    killed, report = 0, {"done": False}
    while not report["done"]:
        process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
        lives = rng.randrange(1, 5) if killed < 30 else 10**9  # lines: it is killed while the last of them is taken
        child = json.loads(process.stdout.readline())["resumed"]["child"] if state.exists() else 0
        step, messages = max(child - 1, 0), list[dict[str, Any]]()
        while step < N:
            message = messages.pop(0) if messages else snapshot(step)
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            lives -= 1
            if lives == 0:
                time.sleep(rng.uniform(0.0, 0.003))
                process.kill()
                killed += 1
                break
            if "mid" in message:
                messages = exchange.fills(json.loads(process.stdout.readline()))
            step += not messages
        with suppress(BrokenPipeError):
            process.stdin.close()
        # Child orders that were answered before the kill went to the exchange, whether anybody heard of it or not.
        for line in filter(str.strip, process.stdout.read().splitlines()):
            said = json.loads(line)
            assert "error" not in said, said
            if "child" in said:
                exchange.fills(said)
            if "done" in said:
                report = said
        process.wait()
        process.stdout.close()
    assert killed == 30
    assert report["traded"] == exchange.sold
    assert report["traded"] + report["left"] == 10_000.0
