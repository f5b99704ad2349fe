"""Inputs that are written to hurt: each a pure function of a generator, so that it can be tried again."""

import json
import os
import random
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from exec_env.market.market import Market
from exec_env.market.order import Order
from tests.conftest import recorded_slices

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 10**400, -(10**9), 1.5, float("nan"), float("inf"), -1e308, 1e-320, 1e308),
    *("", "x", "default", "1", "nan", "=1", "a:b", "../x", "\0", "é" * 300, b"x", "2024-01-01", "twap", "stress"),
    *([], [1], ["x"], ["twap", None], [[1] * 3] * 2, (), (1, 2), {}, {"a": 1}, {1: 2}, set(), range(3), slice(1)),
    *(object(), int, lambda *_: 1, np.float32(1), np.int64(3), np.array(1.0), np.array([1, 2]), np.array([]), np.nan),
    *(1j, torch.tensor(1.0), torch.tensor([1.0, 2.0]), torch.tensor(float("nan")), torch.tensor(1j), Market(), Order()),
)
"""Arguments of every kind."""
WORDS = (
    *("nan", "inf", "-1", "0", "1e400", "1e-320", "", "-", "--", "=1", "a:b", "\udcff", "9" * 400, "[", "{", "*", "&a"),
    *(
        "None",
        "true",
        "1:2",
        "0x10",
        "1_000",
        "../..",
        "/dev/null",
        "x" * 5000,
        "é",
        "--help=1",
        "1e5",
        "0.5",
        "2",
        "twap",
    ),
)
"""Words of a command line, and of texts."""
TOKENS = (
    *(word.encode("utf-8", "surrogateescape") for word in WORDS),
    *(bytes([byte]) for byte in b"\0\n\r\t\"',;{}]:#%"),
    *(b"\xff\xfe", b"\xef\xbb\xbf", b"[" * 200, b": ", b"- ", b"1e999", b"NaN", b"-Infinity", b"*a", b"&a ", b"<<: "),
    b"!!python/name:os.system ",
)
"""The same in bytes, and more of what is no text."""


def mutated(rng: random.Random, content: bytes) -> bytes:
    """A text with a few bytes, words or lines changed."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        lines, place = content.split(b"\n"), rng.randrange(len(content) + 1)
        line, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        kind = rng.randrange(7)
        if kind == 0 and content:
            content = content[:place] + bytes([rng.randrange(256)]) + content[place + 1 :]
        elif kind == 1:
            content = content[:place] + rng.choice(TOKENS) + content[place:]
        elif kind == 2:
            content = content[:place]
        elif kind == 3:
            lines[line], lines[other] = lines[other], lines[line]
            content = b"\n".join(lines)
        elif kind == 4:
            content = b"\n".join([*lines[:line], lines[other], *lines[line:]])
        elif kind == 5:  # a value becomes another one
            by = rng.choice((b", ", b",", b": ", b"="))
            cells = lines[line].split(by)
            cells[rng.randrange(len(cells))] = rng.choice(TOKENS)
            lines[line] = by.join(cells)
            content = b"\n".join(lines)
        else:
            content = b"\n".join([*lines[:line], *lines[line + 1 :]])
    return content


def damaged(rng: random.Random, folder: Path) -> str:
    """One file of a folder spoilt; gives its name and what was done to it."""
    path = rng.choice(sorted(p for p in folder.rglob("*") if p.is_file()))
    kind, content = rng.choice(("flipped", "cut", "gone", "folder", "pipe", "empty", "mutated")), path.read_bytes()
    if kind == "flipped":
        place = rng.randrange(len(content))
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :])
    elif kind == "cut":
        path.write_bytes(content[: rng.randrange(len(content))])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "mutated":
        path.write_bytes(mutated(rng, content))
    else:
        path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
    return f"{path.relative_to(folder)} {kind}"


def copied(folder: Path, to: Path) -> Path:
    """A fresh copy of a folder."""
    shutil.rmtree(to, ignore_errors=True)
    return shutil.copytree(folder, to)


def field_of(rng: random.Random, cls: type[Any]) -> str:
    """The name of a field."""
    return rng.choice([f.name for f in fields(cls)])


def snapshots(n_steps: int) -> bytes:
    """Lines of an order that goes well."""
    lines = []
    for step in range(n_steps):
        time = f"2026-01-05T{9 + step // 12:02}:{5 * step % 60:02}:00"
        lines.append({"time": time, "mid": 100.0, "spread": 0.05, "volume": 60000, "signal": 0.1})
        lines.append({"fill": 100.0, "price": 99.9, "side": "sell"})
    return "\n".join(map(json.dumps, lines)).encode()


def slices() -> bytes:
    """A small recorded market."""
    return recorded_slices(40).to_csv(index=False).encode()


def trades_and_quotes() -> tuple[bytes, bytes]:
    """A small market of ticks."""
    rng = np.random.default_rng(0)
    trades, quotes = ["time,price,size,side"], ["time,bid,ask"]
    for i in range(60):
        stamp, mid = f"2024-01-02T09:{30 + i // 2:02}:{30 * (i % 2):02}Z", 50 + 0.01 * rng.standard_normal()
        quotes.append(f"{stamp},{mid - 0.01:.4f},{mid + 0.01:.4f}")
        trades.append(f"{stamp},{mid:.4f},{rng.integers(1, 500)},{rng.choice(['buy', 'sell'])}")
    return "\n".join(trades).encode(), "\n".join(quotes).encode()
