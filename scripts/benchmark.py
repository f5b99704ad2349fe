"""Speed: environments beside Gymnasium's CartPole in the same process, torch market, evaluation, learning, solvers.

Ratios of one run can be compared between machines and days; absolute times cannot. What limits the vector environment
is its random numbers: its cost is shown in multiples of drawing as many normals alone.

Examples:
  exec-env benchmark --out runs/speed
  exec-env benchmark --only environments --num-envs 64 4096 --repeats 9
  exec-env benchmark --only torch --device cuda --paths 65536 1048576
"""

import multiprocessing
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
import pandas as pd
import torch
from gymnasium.vector import AutoresetMode
from matplotlib.figure import Figure
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from exec_env.agents.ppo import PPOConfig
from exec_env.base.csv_files import write_csv
from exec_env.base.errors import InputError
from exec_env.base.files import new_folder
from exec_env.base.validation import require_count
from exec_env.baselines import lqr
from exec_env.baselines.almgren_chriss import Impact
from exec_env.cli.main import run
from exec_env.cli.options import Flag, Maybe, Several, parse
from exec_env.envs.sb3 import SB3VecEnv
from exec_env.harness import evaluate
from exec_env.harness.training.hyperparameters import settings
from exec_env.harness.training.loop import build
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.torch_market import TorchMarket, torch_device
from exec_env.optimum import lq

OURS, PUBLIC = "AlmgrenChriss-v0", "CartPole-v1"


TWAP = 4
"""The pace that is TWAP."""

BASELINES, NETWORKS = ("twap", "pov", "almgren-chriss", "static", "adaptive"), ("dqn", "ddqn", "pathwise")

Section = Literal["environments", "torch", "evaluation", "learning", "solvers"]


@dataclass(frozen=True)
class Arguments:
    """What is timed, and how often."""

    only: tuple[Section, ...] = get_args(Section)
    """Parts to run."""
    num_envs: tuple[int, ...] = (64, 1024, 4096, 16_384)
    """Sizes of the vector environments."""
    env_steps: int = 400_000
    """Environment steps of one timing of a vector environment; a single one takes a tenth of them."""
    paths: Several[int] = ()
    """Sizes of the torch market; none: 4096 to 65 536, and on a GPU to 1 048 576."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Torch device of the torch market; the processor is timed too."""
    compiled: Flag = False
    """Whether the torch market on the device is also timed with torch.compile."""
    episodes: int = 100_000
    """Common paths of the evaluation, which eight agents run on."""
    ppo_steps: int = 10_240
    """Environment steps of a rollout of PPO, which one timing of learning takes; a multiple of 256."""
    repeats: int = 5
    """Timings of each; the median counts."""
    out: Maybe[Path] = None
    """Folder to create for the tables as CSV and the picture."""


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
    # A step of ours that only resets would count as a step of the market.
    same_step: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP} if env_id == OURS else {}
    envs = gym.make_vec(env_id, num_envs=n, vectorization_mode="vector_entry_point", **same_step)
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


def environments(args: Arguments) -> pd.DataFrame:
    """Our environments and the public one, with the cost of our random numbers alone. [ns per environment step]"""
    floor = median_ns(normals(100_000), args.repeats)
    rows = []

    def add(what: str, size: int, ours: Callable[[], int], public: float) -> None:
        ns = median_ns(ours, args.repeats)
        row = {"what": what, "size": size, "ns": ns, "CartPole ns": public, "of CartPole's speed": public / ns}
        row |= {"random numbers ns": floor, "of their cost": ns / floor}
        rows.append(row | {"KiB each": np.nan if size == 1 else memory_of(size) / size / 1024})

    steps = args.env_steps // 10
    add("single, random actions", 1, single(OURS, steps), median_ns(single(PUBLIC, steps), args.repeats))
    for n in args.num_envs:
        public = median_ns(vector(PUBLIC, n, args.env_steps), args.repeats)
        add("vector, random actions", n, vector(OURS, n, args.env_steps), public)
        add("vector, TWAP", n, vector(OURS, n, args.env_steps, pace=TWAP), public)
    return pd.DataFrame(rows)


def memory_of(n: int) -> int:
    """Memory of a native vector environment, most of it paths made ahead. [bytes]"""
    tracemalloc.start()
    envs = gym.make_vec(OURS, num_envs=n, vectorization_mode="vector_entry_point")
    envs.reset(seed=0)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    envs.close()
    return held


def torch_market(args: Arguments) -> pd.DataFrame:
    """TWAP on the torch market in single precision: paths drawn, and traded. [ns per environment step]

    The memory's floor is the time to move, at the speed of a copy, what must be moved: the normals written and read,
    the random columns of the slices written and read.
    """
    rows = []
    device = torch_device(args.device)
    for name in dict.fromkeys(["cpu", args.device]):
        on_gpu = torch.device(name).type == "cuda"
        sizes = args.paths or ((4096, 16_384, 65_536) + ((262_144, 1_048_576) if on_gpu else ()))
        bandwidth = copied_per_s(torch.device(name), args.repeats)
        for compiled in (False, True) if args.compiled and name == args.device else (False,):
            for n in sizes:
                market = TorchMarket(Market(), Order(), name)
                generator, pace = market.generator(0), torch.full((n,), TWAP, device=market.device)

                def work(
                    n: int = n,
                    market: TorchMarket = market,
                    generator: torch.Generator = generator,
                    pace: torch.Tensor = pace,
                    compiled: bool = compiled,
                ) -> int:
                    tape = market.simulate(n, generator)
                    market.costs(lambda observations: pace, tape, ActionMode("pace"), compiled).objective.mean().item()
                    return n * market.order.n_steps

                columns = market.simulate(8, generator).slices
                n_random = sum(getattr(column, "ndim", 0) == 2 and column.stride(1) != 0 for column in columns)
                moved = 4 * 2 * (len(Normals.used(market.market)) + n_random)
                ns, least = median_ns(work, args.repeats), moved / bandwidth * 1e9
                what = f"torch on {torch.cuda.get_device_name(device) if on_gpu else name}{', compiled' * compiled}"
                row = {"what": what, "size": n, "ns": ns, "steps per s": 1e9 / ns, "memory's floor ns": least}
                rows.append(row | {"of that": ns / least, "KiB each": 4 * n_random * market.order.n_steps / 1024})
    return pd.DataFrame(rows)


def copied_per_s(device: torch.device, repeats: int) -> float:
    """Bytes that a copy within the device reads and writes in a second."""
    source = torch.ones(2**26, device=device)
    target = torch.empty_like(source)

    def work() -> int:
        target.copy_(source)
        target[0].item()  # waits for it
        return 2 * 4 * source.numel()

    return 1e9 / median_ns(work, repeats)


def evaluation(episodes: int) -> dict[str, float]:
    """Five baselines and three saved networks on common paths; in a process of its own, its memory is that."""
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:  # untrained: they act as fast
            build(name, *settings(name, OURS), {})[1].save(Path(folder, name))
        before = peak_memory()
        began = time.perf_counter()
        evaluate([*BASELINES, *(Path(folder, name) for name in NETWORKS)], OURS, episodes=episodes)
    seconds, agents = time.perf_counter() - began, len(BASELINES) + len(NETWORKS)
    row = {"paths": episodes, "agents": agents, "seconds": seconds, "episodes per s": agents * episodes / seconds}
    row |= {"peak memory MiB": peak_memory() / 2**20, "of it before MiB": before / 2**20}
    return row | {"KiB per path and agent": (peak_memory() - before) / (agents * episodes) / 1024}


def peak_memory() -> int:
    """Most memory that this process has had so far; Unix only. [bytes]"""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_a_fresh_process(function: Callable[..., dict[str, float]], *args: object) -> dict[str, float]:
    """What a function returns when nothing was run before it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


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
    return table.assign(ratio=table["native 256"] / table["DummyVecEnv 8"]).reset_index(names="what")


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
    return table.assign(ratio=table["plain way ms"] / table["ms"]).reset_index(names="what")


def sizes_picture(tables: list[pd.DataFrame]) -> Figure:
    """Cost of an environment step against the number of environments or paths."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for table in tables:
        for what, rows in table.groupby("what", sort=False):
            axes.plot(rows["size"], rows["ns"], "o-", ms=4, label=str(what))
        if "CartPole ns" in table:
            rows = table.drop_duplicates("size")
            axes.plot(rows["size"], rows["CartPole ns"], "s--", ms=4, color="0.45", label="Gymnasium's CartPole")
            axes.axhline(table["random numbers ns"].iloc[0], color="0.45", ls=":", label="our random numbers alone")
    axes.set(xscale="log", yscale="log", xlabel="environments or paths side by side", ylabel="ns per environment step")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def main(argv: Sequence[str]) -> None:
    """Time, print, save."""
    args = parse("benchmark", Arguments, argv, __doc__, names=False)
    if args.ppo_steps < 256 or args.ppo_steps % 256:
        raise InputError(f"--ppo-steps {args.ppo_steps}: must be a multiple of 256")
    if not args.only:
        raise InputError(f"--only: name at least one of {', '.join(get_args(Section))}")
    require_count(env_steps=args.env_steps, episodes=args.episodes, repeats=args.repeats)
    for size in args.num_envs:
        require_count(num_envs=size)
    for size in args.paths:
        require_count(paths=size)
    torch_device(args.device)
    if args.out is not None:
        new_folder(args.out)
    tables: dict[str, pd.DataFrame] = {}

    def show(name: str, table: pd.DataFrame, note: str, digits: int = 2) -> None:
        tables[name] = table
        shown = table.round(digits).to_string(index=False, na_rep="-")
        print(f"\n{shown}\n{note}", flush=True)
        if args.out is not None:
            write_csv(table, args.out / f"{name}.csv")

    if "environments" in args.only:
        n_random = len(Normals.used(Market()))
        show("environments", environments(args), f"per environment step, for which {n_random} normals are drawn")
    if "torch" in args.only:
        show("torch", torch_market(args), "TWAP, drawing included; single precision", 3)
    if "evaluation" in args.only:
        table = pd.DataFrame([in_a_fresh_process(evaluation, args.episodes)])
        show("evaluation", table, f"{', '.join(BASELINES + NETWORKS)}; a process of its own")
    if "learning" in args.only:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in training
        note = "environment steps a second of learn(): rollouts and batches of the same size; the rest is gradients"
        show("learning", learning(args.ppo_steps, args.repeats), note, 1)
        torch.set_num_threads(threads)
    if "solvers" in args.only:
        note = "the plain way: one by one in a loop; numpy.linalg.solve on the dense matrix"
        show("solvers", solvers(args.repeats), note, 3)
    if args.out is not None:
        drawn = [tables[name] for name in ("environments", "torch") if name in tables]
        if drawn:
            sizes_picture(drawn).savefig(args.out / "speed.png", dpi=130)
        print(f"\ntables{' and picture' if drawn else ''}: {args.out}")


if __name__ == "__main__":
    run(main)
