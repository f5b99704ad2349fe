"""Offline data: episodes of agents, or of a mixture of agents, with exploration noise on top."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from scipy.special import ndtr
from tqdm import tqdm

from exec_env.base.errors import InputError
from exec_env.base.seeds import child_seed
from exec_env.base.validation import Bounds, Positive, check_fields, require_count
from exec_env.envs.features import Sight
from exec_env.envs.registry import get_spec
from exec_env.envs.reward import Reward
from exec_env.envs.rollout import rollout
from exec_env.harness.agents import LAST, Agent, load_run, resolve, run_of
from exec_env.market.execution import Slice, State, bps
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.observation import Observation
from exec_env.one_asset.problem import OneAsset

FRACTION = ActionMode("fraction")
"""The mode that episodes are recorded in. Any trade can be written in it, and it does not grow with the order."""
RANDOM = "random"
"""Name of the agent whose paces are uniform on [0, 2]: on average TWAP's, and all the time something else."""

Noise = Annotated[float, Bounds(0.0, 100.0)]
"""Of actions, in paces. With more of it, hardly an action would be left between none and all."""

_CHUNK = 4096  # paths in memory at once
_WHO, _NOISE = 3, 4  # streams of seeds; training has 1 and 2


@dataclass(frozen=True)
class Member:
    """An agent of a mixture.

    Raises:
        InputError: naming the field, the value and what is allowed.
    """

    agent: Any
    """Name, run folder, "module:Class" or object, as in ``evaluate``; or "random"."""
    weight: Positive = 1.0
    """Its share of the episodes is its weight over the sum of all."""
    noise: Noise = 0.0
    """Standard deviation of Gaussian noise on what it trades, in multiples of selling evenly what is left: in paces.
    The noise of one slice is independent of the others'."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.agent == RANDOM and self.noise:
            raise InputError(f"Member.noise = {self.noise}: the agent {RANDOM!r} is all noise; it must be 0")


class Transitions(NamedTuple):
    """Single steps of many episodes; M is their number, D the size of an observation."""

    observations: np.ndarray  # (M, D) float32
    actions: np.ndarray  # (M, 1) float32: fractions of what is left
    rewards: np.ndarray  # (M,) [bps]
    next_observations: np.ndarray  # (M, D) float32
    terminated: np.ndarray  # (M,) bool


@dataclass(frozen=True)
class Episodes:
    """Episodes side by side; what lies behind an episode's end is zero. E is their number, N the slices, D as above."""

    observations: np.ndarray
    """The last one is what is seen when all is over. Shape: (E, N + 1, D), float32."""
    actions: np.ndarray
    """Fractions of what is left. Shape: (E, N, 1), float32."""
    rewards: np.ndarray
    """[bps]. Shape: (E, N)."""
    lengths: np.ndarray
    """Slices until all was traded. Shape: (E,)."""
    members: np.ndarray
    """Which agent of the mixture played. Shape: (E,)."""

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def returns(self) -> np.ndarray:
        """Undiscounted sum of rewards. Shape: (E,). [bps]"""
        return self.rewards.sum(axis=1)

    @property
    def played(self) -> np.ndarray:
        """Whether a slice came before the end. Shape: (E, N)."""
        return np.arange(self.rewards.shape[1]) < self.lengths[:, None]

    @property
    def transitions(self) -> Transitions:
        """All steps, those of the first episode first."""
        on = self.played
        last = np.arange(self.rewards.shape[1]) == self.lengths[:, None] - 1
        seen, following = self.observations[:, :-1][on], self.observations[:, 1:][on]
        return Transitions(seen, self.actions[on], self.rewards[on], following, last[on])

    @property
    def sha256(self) -> str:
        """Checksum of everything."""
        digest = sha256()
        for array in (self.observations, self.actions, self.rewards, self.lengths, self.members):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


class Recorded(NamedTuple):
    """Episodes, where they come from, and what made them."""

    episodes: Episodes
    spec: EnvSpec
    """What ``gymnasium.make`` needs for an environment that takes their actions."""
    provenance: dict[str, Any]
    """Plain values: env, options, agents (with weight and noise), seed, episodes, and what ``conditions`` says."""


def record(
    members: Sequence[Member | str | Path | Agent],
    env_id: str = "AlmgrenChrissContinuous-v0",
    episodes: int = 1000,
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> Recorded:
    """Play and record ``episodes`` episodes, each by one agent of the mixture.

    Episode e is a function of seed, mixture and e alone. Its path is the one that the environment seeded with
    ``seed`` plays in its episode e.

    Args:
        members: the mixture.
        env_id: a registered id; whatever its action mode, actions are recorded as fractions of what is left.
        episodes: how many.
        seed: of paths, of who plays, and of the noise.
        progress: whether to show a progress bar.
        **options: of the environment: fields of Market and Order, ``preset``, ``tape``, ``reward`` ...

    Raises:
        InputError: for an unknown agent, and whatever the environment refuses.

    >>> record(["twap", Member("twap", noise=0.2)], episodes=10).episodes.actions.shape
    (10, 40, 1)
    """
    require_count(episodes=episodes)
    require_count(0, seed=seed)
    for name in ("action", "levels"):
        if name in options:
            raise InputError(f"{name} = {options[name]!r}: episodes are recorded with action {FRACTION.name!r}")
    mixture = [m if isinstance(m, Member) else Member(m) for m in members]
    if not mixture:
        raise InputError("no agents to record: name at least one")
    get_spec(env_id)  # imports the module that an id names
    made: Any = gym.make(env_id, **(options | {"action": FRACTION.name}))
    problem, reward, spec = made.unwrapped.problem, made.unwrapped.reward, made.spec
    if not isinstance(problem, OneAsset):
        raise InputError(f"env_id = {env_id!r}: episodes are recorded of one order in one asset only")
    if others := ", ".join((*problem.recorded, *problem.features)):
        raise InputError(f"features = {others}: datasets hold the problem's own entries alone; leave them out")
    agents = [_agent(m, problem) for m in mixture]
    who, noise, paths = (np.random.default_rng(s) for s in (child_seed(seed, _WHO), child_seed(seed, _NOISE), seed))
    shares = np.array([m.weight for m in mixture])
    parts = []
    with tqdm(total=episodes, unit=" episodes", disable=not progress, desc="record") as bar:
        for first in range(0, episodes, _CHUNK):
            n = min(_CHUNK, episodes - first)
            chosen = np.searchsorted(np.cumsum(shares / shares.sum())[:-1], who.random(n), side="right")
            behaviour = Behaviour(mixture, agents, chosen, noise.standard_normal((n, problem.n_steps)), problem)
            parts.append(_play(behaviour, problem.sample([paths], n), problem, reward))
            bar.update(n)
    whole = Episodes(*(np.concatenate([getattr(part, name) for part in parts]) for name in Episodes.__annotations__))
    provenance = {
        "env": env_id.removeprefix("exec_env:"),
        "options": {k: str(v) if isinstance(v, Path) else v for k, v in options.items()},
        "agents": [_described(m) for m in mixture],
        "seed": int(seed),
        "episodes": episodes,
    }
    return Recorded(whole, spec, provenance | conditions(problem, reward))


def conditions(problem: OneAsset, reward: Reward) -> dict[str, Any]:
    """What settles an episode beside actions and seed, in plain values: market, order, reward, randomise, tape."""
    ranges, tape = problem.ranges, problem.tape
    return {
        "market": asdict(problem.market),
        "order": asdict(problem.order),
        "reward": asdict(reward),
        "randomise": ranges and {"fields": [list(ends) for ends in ranges.fields], "stress": ranges.stress},
        "tape": tape and tape.described(),
    }


class Behaviour:
    """What plays a number of episodes side by side: a policy of its own for each, and noise.

    Args:
        mixture: of agents.
        agents: those of ``mixture``, ready to act.
        chosen: which of them plays each episode. Shape: (n,).
        z: standard normals behind the noise. Shape: (n, n_steps).
        problem: what they play.
    """

    def __init__(
        self, mixture: Sequence[Member], agents: Sequence[Agent], chosen: np.ndarray, z: np.ndarray, problem: OneAsset
    ) -> None:
        self.chosen, self._problem = chosen, problem
        self._players = [(agent, np.flatnonzero(chosen == i)) for i, agent in enumerate(agents)]
        self._noise = np.empty_like(z)
        for member, (_, where) in zip(mixture, self._players, strict=True):
            # A random pace is TWAP's and uniform noise on [-1, 1].
            self._noise[where] = 2 * ndtr(z[where]) - 1 if member.agent == RANDOM else member.noise * z[where]

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Fractions of what is left, in [0, 1]. Shape: (n, D) -> (n, 1), float32."""
        order = self._problem.order
        left = int(np.rint(observations[0, 0] * order.n_steps))
        out = np.empty(len(observations))
        for agent, where in self._players:
            if where.size:
                out[where] = fractions(agent, observations[where], self._problem)
        out += self._noise[:, order.n_steps - left] / left
        return out.clip(0.0, 1.0).astype(np.float32)[:, None]


def fractions(agent: Agent, observations: np.ndarray, problem: OneAsset) -> np.ndarray:
    """What any agent asks for, as fractions of what is left; may be above one. Shape: (n, D) -> (n,)."""
    order, actions = problem.order, problem.actions(agent.action_mode)
    seen = Observation(*observations.T.astype(float))
    values = actions.many(agent.act(observations), len(observations))
    if actions.mode == FRACTION:
        return values
    # Of state and slice only what actions are meant in.
    state = State(order.shares * seen.inventory_left, 0.0, 0.0, 0.0)
    volume = seen.relative_volume * problem.market.daily_volume * order.slice_length
    now = Slice(0.0, 0.0, volume, *[0.0] * 7)
    asked = actions.ask(values, state, now, np.rint(seen.time_left * order.n_steps))
    return asked / np.maximum(state.remaining, 1e-300)


def _agent(member: Member, problem: OneAsset) -> Agent:
    agent = resolve("twap" if member.agent == RANDOM else member.agent, problem)[1]
    if hasattr(agent, "initial_state"):
        raise InputError(f"agent {member.agent!r}: has a memory; episodes are recorded of agents without one")
    return agent


def _described(member: Member) -> dict[str, Any]:
    """A member in plain values; of a run folder with what is in it, of an object its class."""
    agent, more = member.agent, {}
    if not isinstance(agent, str | Path):
        agent = f"{type(agent).__module__}:{type(agent).__qualname__}"
    elif Path(agent).is_dir():
        loaded, folder = load_run(agent), Path(agent)
        run, part = run_of(folder), LAST if folder.resolve().name == LAST else ""
        weights = next(run / p / "weights.pt" for p in (part, "best", "") if (run / p / "weights.pt").exists())
        more = {"class": type(loaded).__name__, "weights_sha256": sha256(weights.read_bytes()).hexdigest()}
    return {"agent": str(agent), "weight": member.weight, "noise": member.noise} | more


def _play(behaviour: Behaviour, paths: Paths, problem: OneAsset, reward: Reward) -> Episodes:
    """Every path once, on the harness's own rollout."""
    order, n = problem.order, paths.n_paths
    seen: list[np.ndarray] = []
    done: list[np.ndarray] = []

    def act(observations: np.ndarray) -> np.ndarray:
        seen.append(observations)
        done.append(behaviour.act(observations))
        return done[-1]

    to_bps = bps(problem.notional(paths.arrival_price))
    rewards, lengths = np.zeros((n, order.n_steps)), np.full(n, order.n_steps)
    for t, step in enumerate(rollout(act, paths, problem, problem.actions(FRACTION))):
        rewards[:, t] = reward(step.fill, step.before, step.after, order.shares, to_bps)
        lengths[(step.before.remaining > 0) & (step.after.remaining <= 0)] = t + 1
    # What an environment shows when all is over: the last slice once more, with nothing left.
    seen.append(Sight(problem).stack(step.after, problem.seen(step.now), 0.0, n))
    observations, actions = np.stack(seen, 1), np.stack(done, 1)
    observations[np.arange(order.n_steps + 1) > lengths[:, None]] = 0
    over = np.arange(order.n_steps) >= lengths[:, None]
    actions[over], rewards[over] = 0, 0
    return Episodes(observations, actions, rewards, lengths, behaviour.chosen)
