"""Speed of the environments, beside Gymnasium's CartPole in the same process.

Ratios of one run can be compared between machines and days; absolute times cannot.

Examples:
  python scripts/benchmark.py
  python scripts/benchmark.py --num-envs 64 1024 4096 --repeats 9
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
import pandas as pd
import tyro

import exec_env  # noqa: F401  registers the environments
from exec_env.harness.storage import new_folder
from exec_env.market import Market
from exec_env.tape import Normals
from scripts.cli import run

OURS, PUBLIC = "AlmgrenChriss-v0", "CartPole-v1"


@dataclass(frozen=True)
class Arguments:
    """What is timed, and how often."""

    num_envs: tuple[int, ...] = (64, 1024, 4096)
    """Sizes of the vector environments."""
    env_steps: int = 400_000
    """Environment steps of one timing of a vector environment; a single one takes a tenth of them."""
    repeats: int = 5
    """Timings of each; the median counts."""
    out: Path | None = None
    """Folder to create for the table as CSV."""


def median_ns(work: Callable[[], int], repeats: int) -> float:
    """Median time of one of the steps that ``work`` does and counts. [ns]"""
    work()  # warm up
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        steps = work()
        times.append((time.perf_counter() - began) / steps * 1e9)
    return float(np.median(times))


def single(env_id: str, steps: int) -> Callable[[], int]:
    """Random actions in one environment, resets included."""
    env = gym.make(env_id)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(997)]
    env.reset(seed=0)

    def work() -> int:
        for i in range(steps):
            _, _, terminated, truncated, _ = env.step(actions[i % 997])
            if terminated or truncated:
                env.reset()
        return steps

    return work


def vector(env_id: str, n: int, steps: int, pace: int | None = None) -> Callable[[], int]:
    """Random actions, or always action ``pace``, in a native vector environment, resets included."""
    envs = gym.make_vec(env_id, num_envs=n, vectorization_mode="vector_entry_point")
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() if pace is None else np.full(n, pace) for _ in range(13)]
    envs.reset(seed=0)
    # Many episodes, because paths are made for several at once.
    rounds = max(640, steps // n)

    def work() -> int:
        for i in range(rounds):
            envs.step(actions[i % 13])
        return rounds * n

    return work


def normals(n: int) -> Callable[[], int]:
    """The bare random numbers of ``n`` environment steps."""
    rng, shape = np.random.default_rng(0), (n, len(Normals.used(Market())))

    def work() -> int:
        rng.standard_normal(shape)
        return n

    return work


def main(argv: Sequence[str]) -> None:
    """Time, print, save."""
    args = tyro.cli(Arguments, args=argv, description=__doc__)
    if args.out is not None:
        new_folder(args.out)
    floor = median_ns(normals(100_000), args.repeats)
    rows = []

    def add(what: str, ours: float, public: float) -> None:
        rows.append({"what": what, "ns": ours, "CartPole ns": public, "CartPole's speed": public / ours})
        rows[-1]["random numbers' cost"] = ours / floor

    steps = args.env_steps // 10
    add("single", median_ns(single(OURS, steps), args.repeats), median_ns(single(PUBLIC, steps), args.repeats))
    for n in args.num_envs:
        public = median_ns(vector(PUBLIC, n, args.env_steps), args.repeats)
        add(f"vector {n}, random actions", median_ns(vector(OURS, n, args.env_steps), args.repeats), public)
        add(f"vector {n}, TWAP", median_ns(vector(OURS, n, args.env_steps, pace=4), args.repeats), public)
    table = pd.DataFrame(rows).set_index("what")
    print(table.round(2).to_string())
    print(f"per environment step; its {len(Normals.used(Market()))} random numbers alone take {floor:.1f} ns")
    if args.out is not None:
        table.to_csv(args.out / "benchmark.csv")
        print(f"table: {args.out}")


if __name__ == "__main__":
    run(main)
