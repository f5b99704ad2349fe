"""Live execution that is fed what hurts: it answers line by line, and its report is never lost."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from exec_env.base.errors import ExecEnvError
from exec_env.baselines.twap import TWAP
from exec_env.cli import live
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.live import LiveExecutor

ROOT = Path(__file__).parents[2]
ORDER = Order(shares=1000.0, n_steps=4)


def snapshot(step: int, **values: Any) -> bytes:
    known = {"time": f"2026-01-05T09:{30 + 5 * step}:00", "mid": 100.0, "spread": 0.05, "volume": 60000}
    return json.dumps(known | values).encode()


def executor() -> LiveExecutor:
    return LiveExecutor(TWAP(Market(), ORDER), ORDER)


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


FILLED = b'{"fill": 200, "price": 99.9, "side": "sell"}'
HOSTILE = {
    b'{"time": "2026-01-05T09:35:00", "mid": 1e400, "spread": 0.05, "volume": 1}': "snapshot: mid = inf: must be",
    b"\xff\xfe{": "not UTF-8: invalid start byte at byte 0",
    b'{"mid": ' + 10_000_000 * b"1" + b"}": "a line of more than 65,536 bytes",
    60_000 * b"[": "maximum recursion depth exceeded",
    b'{"fill": 1, "fill": 2, "price": 3}': "'fill' comes twice",
    b'{"fill": 100, "price": 99.9, "side": "buy"}': "fill: side = 'buy': the order's is 'sell'",
    b'{"fill": 100, "prise": 99.9}': "fill: unknown field 'prise'; did you mean 'price'?",
    b'{"fill": NaN, "price": 1}': "NaN is no number of JSON",
    b'{"fill": -Infinity, "price": 1}': "-Infinity is no number of JSON",
    b'{"fill": 1e400, "price": 1}': "fill: shares = inf: must be",
    b'{"fill": -1, "price": 1}': "fill: shares = -1: must be",
    b'{"fill": "100", "price": 99.9}': "fill: shares = '100': must be",
    b'{"fill": true, "price": 99.9}': "fill: shares = True: must be",
    b'{"fill": [1], "price": 99.9}': r"fill: shares = [1]: must be",
    b'{"fill": 100}': "fill: price = None: must be",
    b'{"fill": 100, "price": 0}': "fill: price = 0.0: must be > 0",
    b'{"fill": 100, "price": 1e308}': "fill: price = 1e+308: must be",
    b'{"fill": 251, "price": 99.9}': "fill: shares = 251: only 250.0 were asked for",
    b'{"fill": ' + 5000 * b"1" + b', "price": 1}': "4300 digits",
    b"null": "not a JSON object: null",
    b"\0": "not a JSON object",
    snapshot(1): "the last child order has no fill yet",
    snapshot(1, mid=[1]): "snapshot: mid = [1]: must be a finite number",
    snapshot(1, mid=-1): "snapshot: mid = -1.0",
    snapshot(1, mid="100"): "snapshot: mid = '100': must be a finite number",
    snapshot(1, spread=200): "snapshot: spread = 200.0: must be below twice the mid",
    snapshot(1, log_liquidity=1e308): "snapshot: log_liquidity = 1e+308: must be in [-10, 10]",
    snapshot(1, signal="up"): "snapshot: signal = 'up': must be a finite number",
    snapshot(1, time=5): "snapshot: time = 5: must be an ISO 8601 date and time",
    snapshot(1, time="x" * 60_000): "snapshot: time = 'xxx",
    snapshot(1, signl=1): "snapshot: unknown field of Snapshot 'signl'; did you mean 'signal'?",
}


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: line[:20])
def test_a_hostile_line_is_answered_with_its_number_and_changes_nothing(
    line: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = BytesIO(b"\n".join([snapshot(0), b"", line, FILLED, b""]))
    order = executor()
    live.drive(order, stream, False, lambda _: None)
    asked, said = (strict(text) for text in capsys.readouterr().out.splitlines())
    assert asked["shares"] == 250.0
    assert said["line"] == 3
    assert HOSTILE[line] in said["error"]
    assert len(said["error"]) < 500
    assert order.report() == {
        "done": False,
        "traded": 200.0,
        "left": 800.0,
        "average_price": pytest.approx(99.9),
        "shortfall_bps": pytest.approx(10.0),
    }


@pytest.mark.parametrize("tiny", [{"mid": 1e-300, "spread": 0}, {"mid": 1e-320, "spread": 0}])
def test_a_first_price_that_no_unit_can_hold_is_refused_and_the_next_is_the_arrival_price(
    tiny: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    order = executor()
    live.drive(order, BytesIO(snapshot(0, **tiny) + b"\n" + snapshot(1)), False, lambda _: None)
    said = [strict(text) for text in capsys.readouterr().out.splitlines()]
    if "error" in said[0]:
        assert order.arrival_price == 100.0
    assert strict(json.dumps(order.report())) == order.report()


def test_a_child_order_without_a_fill_stands_in_the_report() -> None:
    order = executor()
    order.answer(json.loads(snapshot(0)))
    assert order.report()["asked"] == 250.0
    order.filled({"fill": 0})
    assert "asked" not in order.report()


def test_a_signal_waits_for_the_line_that_is_answered_and_a_second_one_does_not() -> None:
    with live.stoppable() as working:
        working(True)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(live.Stop):
            working(False)
    with live.stoppable() as working:
        working(True)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(live.Stop):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_bug_of_an_agent_leaves_the_report(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(LiveExecutor, "filled", broken)
    printed: list[str] = []
    monkeypatch.setattr("builtins.print", lambda text, **_: printed.append(text))
    with pytest.raises(RuntimeError, match="a bug"):
        call(live, "twap", "--shares", "1000", "--n-steps", "4", text=(snapshot(0) + b"\n" + FILLED).decode())
    assert strict(printed[-1])["left"] == 1000.0
    assert not issubclass(RuntimeError, ExecEnvError)


@pytest.mark.long
@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, "closed pipe"])
def test_whatever_ends_it_the_report_comes(ended_by: Any) -> None:
    command = [sys.executable, "scripts/live.py", "twap", "--shares", "1000", "--n-steps", "4"]
    pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        process = subprocess.Popen(command, cwd=ROOT, **pipes)
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdin.write(snapshot(0) + b"\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["shares"] == 250.0
    process.stdin.write(FILLED + b"\nnonsense\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["line"] == 3
    if ended_by == "closed pipe":
        process.stdout.close()
        process.stdin.write(b"nonsense\n")
        process.stdin.flush()
        said = process.stderr.read().splitlines()[0]
        assert process.wait() == 141
    else:
        process.send_signal(ended_by)
        out, _ = process.communicate(timeout=60)
        said = out.splitlines()[-1]
        assert process.returncode == 128 + ended_by
    process.stdin.close()
    process.stderr.close()
    assert strict(said.decode()) == {
        "done": False,
        "traded": 200.0,
        "left": 800.0,
        "average_price": pytest.approx(99.9),
        "shortfall_bps": pytest.approx(10.0),
    }
