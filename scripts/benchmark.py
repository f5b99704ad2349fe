"""Speed of the environments, beside Gymnasium's CartPole in the same process, of learning, and of the solvers.

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
import torch
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents.ppo import PPOConfig
from baselines import lqr
from baselines.almgren_chriss import Impact
from exec_env import lq
from exec_env.harness.storage import new_folder
from exec_env.market import Market
from exec_env.order import Order
from exec_env.sb3 import SB3VecEnv
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
    ppo_steps: int = 10_240
    """Environment steps of a rollout of PPO, which one timing of learning takes; a multiple of 256."""
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


def learning(steps: int, repeats: int) -> pd.DataFrame:
    """Stable-Baselines3's PPO on the native environment, and on single ones as the library has them. [frames/s]"""
    settings = PPOConfig()
    native, singles = SB3VecEnv(OURS, num_envs=256), DummyVecEnv([lambda: gym.make(OURS)] * 8)

    def frames(env: VecEnv, epochs: int) -> float:
        model = PPO(
            "MlpPolicy",
            env,
            n_steps=steps // env.num_envs,
            batch_size=min(settings.batch_size, steps),
            n_epochs=epochs,
            policy_kwargs={"net_arch": list(settings.hidden)},
            device="cpu",
        )
        if epochs == 0:
            model.train = lambda: None  # type: ignore[method-assign]

        def work() -> int:
            model.learn(steps)
            return steps

        return 1e9 / median_ns(work, repeats)

    rows = {}
    for what, epochs in {"collecting alone": 0, f"{settings.epochs} epochs": settings.epochs, "10 epochs": 10}.items():
        rows[f"PPO, {what}"] = frames(native, epochs), frames(singles, epochs)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["native 256", "DummyVecEnv 8"])
    return table.assign(ratio=table["native 256"] / table["DummyVecEnv 8"])


def solvers(repeats: int) -> pd.DataFrame:
    """Times of the bound, of LQR in batches and of Almgren-Chriss, each beside the plain way to do it. [ms]"""
    rng = np.random.default_rng(0)
    q, r = rng.uniform(0.1, 5.0, (2, 10_000))
    impact, n = Impact(0.95, 2.5e-6, 2.5e-7, 1e-6, slice_length=5e-3), 1000
    slope = impact.eta_tilde / impact.slice_length
    dense = np.diag(np.full(n - 1, 2 * slope + impact.risk_aversion * impact.volatility**2 * impact.slice_length))
    dense += np.diag(np.full(n - 2, -slope), 1) + np.diag(np.full(n - 2, -slope), -1)
    right = np.r_[slope * 1e6, np.zeros(n - 2)]

    def once(work: Callable[[], object]) -> float:
        return median_ns(lambda: work() is None or 1, repeats) / 1e6

    def one_by_one() -> None:
        for pair in zip(q[:500].tolist(), r[:500].tolist(), strict=True):
            lqr.gains(*pair, 20)

    rows = {
        "lower bound, default problem": (once(lambda: lq.solve(Market(), Order())), np.nan),
        "10 000 LQR problems, 20 periods": (once(lambda: lqr.gains(q, r, 20)), 20 * once(one_by_one)),
        "Almgren-Chriss, 1000 slices": (
            once(lambda: impact.optimum(1e6, n)),
            once(lambda: np.linalg.solve(dense, right)),
        ),
        "Almgren-Chriss, 100 000 slices": (once(lambda: impact.optimum(1e6, 100_000)), np.nan),
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["ms", "plain way ms"])
    return table.assign(ratio=table["plain way ms"] / table["ms"])


def main(argv: Sequence[str]) -> None:
    """Time, print, save."""
    args = tyro.cli(Arguments, args=argv, description=__doc__)
    if args.ppo_steps < 256 or args.ppo_steps % 256:
        raise ValueError(f"--ppo-steps {args.ppo_steps}: must be a multiple of 256")
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
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in training
    print(learning(args.ppo_steps, args.repeats).round(1).to_string())
    torch.set_num_threads(threads)
    print("environment steps a second of learn(): rollouts and batches of the same size; the rest is gradients")
    print(solvers(args.repeats).round(3).to_string(na_rep="-"))
    print("the plain way: one by one in a loop; numpy.linalg.solve on the dense matrix")
    if args.out is not None:
        table.to_csv(args.out / "benchmark.csv")
        print(f"table: {args.out}")


if __name__ == "__main__":
    run(main)
