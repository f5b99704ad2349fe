"""A problem: what environments and harness know of it, and nothing more.

A problem is a market that is drawn before anybody trades (``sample``), an execution that is a pure function of paths
and trades (``opening``, ``step``), what an agent sees of both (``names``, ``seen``, ``observe``) and what its actions
mean (``actions``). The rest of ``Problem`` has defaults: bound, optimum, baselines, stress tests, pictures.

Derive from ``Problem`` and register a factory: ``exec_env.register("MyExec-v0", problem="module:factory")``.
Floats, arrays and tensors go through the same methods; columns may have trailing axes, as for assets or events.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import gymnasium as gym
import numpy as np

from exec_env.base.bootstrap import Errors, Independent
from exec_env.base.errors import InputError, NoBound
from exec_env.envs.profile import Profile
from exec_env.envs.reward import Reward
from exec_env.envs.scenario import NORMAL, Scenario, chosen
from exec_env.envs.variates import Variates
from exec_env.market.paths import Paths, Source

FAR = 1e6
"""Beyond this no entry of an observation should be: they are of order one."""


class Actions(Protocol):
    """What an agent's actions mean: they are checked, turned into numbers, and these into what is asked for."""

    space: gym.Space[Any]
    """Gymnasium space of one action."""
    mode: Any
    """The action mode; its text is kept in run folders."""

    def one(self, action: Any) -> Any:
        """The numbers behind one action; an InputError where it is outside the space."""

    def many(self, actions: Any, n: int) -> Any:
        """The numbers behind ``n`` actions, an array; an InputError where one is outside the space."""

    def ask(self, values: Any, state: Any, now: Any, left: Any) -> Any:
        """What is asked for in this slice, from the numbers; floats, arrays or tensors.

        Args:
            values: from ``one`` or ``many``.
            state: before the slice.
            now: the slice.
            left: slices left, this one included.
        """

    def like(self, tensor: Any) -> "Actions":
        """The same for batches of tensors, on the device of ``tensor``."""


@dataclass(frozen=True)
class Bound:
    """A lower bound on what any policy can achieve."""

    value_bps: float
    """Of the objective. [bps of the arrival notional]"""
    left_out: str = ""
    """What the bound leaves out of the costs, in words; nothing where it charges all."""


@dataclass(frozen=True)
class Panel:
    """One row of a picture of example paths."""

    label: str
    """Of the axis, with its unit."""
    column: str | Callable[[Any], Any]
    """A column of ``Problem.record``, or a function of the frame of all of them."""
    shared: bool = False
    """Whether the column is the same for all agents, so that it is drawn once."""
    steps: bool = True
    """Whether a value holds for its whole slice; if not, it is joined to the next by a line."""
    dots: str | None = None
    """A column that is drawn as dots on top."""
    end: float | None = None
    """What comes after the last slice, where that is known."""
    line: float | None = None
    """Where a dotted line is drawn across."""
    height: float = 3.0
    """Relative to the others."""
    most: float | None = None
    """The axis reaches no further than this, so that outliers do not hide the rest."""


class Problem(ABC):
    """One execution problem.

    A fill, the second thing that ``step`` returns, is a NamedTuple of columns with at least ``shortfall``,
    ``objective`` (what counts for J: the costs whose mean a policy can change, and ``risk``), ``risk``, ``block`` (what
    had to be sold at the end, which is for ``step`` to do) and the ``components``, all but ``block`` in $, positive
    when they hurt. ``reward="shortfall"`` also needs ``price`` and ``drift``: the price risk and its expected part;
    ``violation_penalty`` needs ``excess``, and ``smoothness_penalty`` a ``participation`` of the state, a NamedTuple.

    Shapes: one environment calls with numbers (or with arrays of the trailing axes alone), many with columns (n, ...),
    and ``observe`` also with columns (n, n_steps + 1, ...) of many paths beside the numbers of one state; so use
    ``[..., i]`` for trailing axes. The first column of a state has one entry a path. ``step`` returns new arrays, never
    those that it was given. A column that is the same number everywhere may come as that number.
    """

    n_steps: int
    """Decisions in an episode, at most."""
    size: float
    """What there is to trade. [shares]"""
    names: tuple[str, ...]
    """Entries of the observation; those that agents act on that name none."""
    recorded: tuple[str, ...] = ()
    """Entries after them that are features of the data."""
    components: tuple[str, ...]
    """Fields of a fill that add up, over an episode, to the implementation shortfall."""
    price_of_variance: float | None = None
    """λ Var of the total cost, over its variance in bps²; None where no risk aversion is told. [1/bps]"""
    dollars_per_bps: float | None = None
    """What a basis point of the order's notional is, on average, for who reads in dollars. [$]"""
    reward: Reward = Reward()
    """What a slice pays."""
    features: Mapping[str, Callable[[Any], Any]] = MappingProxyType({})
    """Entries of the observation that the user has added, by name; each is a function of the entries before."""
    reference: ClassVar[str] = "twap"
    """The agent that others are compared with: one of ``policies``, or one that ``build`` makes. Training needs it."""
    profiles: tuple[Profile, ...] = ()
    """Columns of ``outcome`` that tables and pictures show side by side."""
    training_only: ClassVar[tuple[str, ...]] = ("action", "levels", "reward", "violation_penalty", "smoothness_penalty")
    """Options that change how an agent acts and learns, but not what it is evaluated on."""
    varied: ClassVar[tuple[str, ...]] = ()
    """Options that only stress tests may give."""
    stressing: ClassVar[tuple[str, ...]] = ()
    """Options that describe a stress; they may be given although no stress is on."""

    # --- paths

    @abstractmethod
    def sample(self, rngs: Sequence[np.random.Generator], n_paths: int = 1) -> Paths:
        """``n_paths`` from each generator, the first one's first, path by path, however many are drawn at once."""

    @abstractmethod
    def notional(self, arrival_price: Any) -> Any:
        """Arrival value of what there is to trade, from the prices at arrival. [$]"""

    @property
    def source(self) -> Source:
        """What draws the paths; handed to the process that draws them ahead, so it can be pickled."""
        return self

    def starts(self) -> np.ndarray | None:
        """Rows of a tape at which an episode can begin; None where paths are drawn."""
        return None

    def at(self, starts: np.ndarray, rng: np.random.Generator) -> Paths:
        """Episodes that begin at these rows of a tape."""
        raise InputError("start: only an environment on a tape has rows to start at")

    def each(self, columns: Any) -> list[Any]:
        """The slices of one path, where ``columns`` are lists of one entry per slice."""
        return list(map(type(columns)._make, zip(*columns, strict=True)))

    # --- execution

    @abstractmethod
    def actions(self, mode: Any = None) -> Actions:
        """What actions mean in an action mode, or in the text of one from a file; None: in the problem's own."""

    @abstractmethod
    def opening(self, zero: Any = 0.0) -> Any:
        """The state at arrival; ``zero`` gives the type and shape of its columns."""

    @abstractmethod
    def step(self, state: Any, now: Any, asked: Any, left: Any) -> tuple[Any, Any]:
        """Trade one slice: a pure function. Floats, arrays or tensors.

        Args:
            state: before the slice.
            now: the slice.
            asked: from ``Actions.ask``; what cannot be is cut to what can.
            left: slices left, this one included: a number, or an array where paths are at different slices.

        Returns:
            The state after the slice, and the fill.
        """

    def over(self, state: Any, left: Any) -> Any:
        """Whether the episode is over, in a state with ``left`` slices to come.

        Where it can be over before its last slice, a ``step`` after that must cost nothing and change nothing: paths
        are executed in lockstep, to the last of them.
        """
        return left <= 0

    # --- what is seen

    @abstractmethod
    def seen(self, now: Any) -> Any:
        """What the market shows in a slice, or in all slices of all paths at once, as ``observe`` takes it."""

    @abstractmethod
    def observe(self, state: Any, seen: Any, left: Any) -> Sequence[Any]:
        """All entries of the observation, in the order of ``names`` and ``recorded``.

        Args:
            state: before the slice.
            seen: from ``seen``.
            left: slices left, this one included.
        """

    def renewed(self, observation: np.ndarray, state: Any, now: Any, left: int) -> np.ndarray:
        """An observation of the slice ``now`` made for another state, with the entries of this one."""
        observation[:] = self.observe(state, self.seen(now), left)
        return observation

    def space(self) -> gym.spaces.Box:
        """Gymnasium space of the problem's own entries; narrower where their ranges are known."""
        return gym.spaces.Box(-FAR, FAR, (len(self.names + self.recorded),), np.float32)

    # --- what is told

    def info(self, before: Any, fill: Any, arrival_price: Any, to_bps: Any) -> dict[str, Any]:
        """What a step tells beside observation and reward: costs in bps of the arrival notional, what was traded."""
        costs = {name: to_bps * getattr(fill, name) for name in (*self.components, "risk")}
        return costs | {"block": fill.block}

    def tally(self, before: Any, now: Any, fill: Any) -> dict[str, Any]:
        """What is summed over an episode beside costs; ``shares_left``, which stress tests use, among it."""
        return {"shares_left": fill.block}

    def outcome(self, sums: dict[str, Any]) -> dict[str, Any]:
        """Columns of a table of episodes, from the sums of ``tally``."""
        return sums

    def record(self, before: Any, now: Any, fill: Any, after: Any, arrival_price: Any) -> dict[str, Any]:
        """Columns that tell an example path slice by slice, for pictures and ``examples.csv``."""
        return {"block": fill.block}

    def describe(self) -> str:
        """The problem in one line, for tables."""
        return f"{self.size:,.6g} shares in {self.n_steps} slices"

    def headline(self) -> str:
        """The problem in sentences, for reports."""
        return self.describe() + "."

    def on_bound(self) -> str:
        """Whose bound it is, where that has to be said; a sentence."""
        return ""

    def on_price(self) -> str:
        """What the price component of costs holds, in words."""
        return "The price's part holds the luck of the paths"

    def parameters(self) -> dict[str, dict[str, Any]]:
        """Every parameter by group and name, for reports."""
        return {}

    def defaults(self) -> dict[str, dict[str, Any]]:
        """The same of the problem that options started from; a report tells what was changed."""
        return self.parameters()

    def settled(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options as files keep them: numbers for texts with units, and what data say that is to stay the same."""
        return dict(options)

    def provenance(self) -> dict[str, Any]:
        """What a run folder keeps beside options: checksums of data, say."""
        return {}

    def save(self, run: Path) -> None:  # noqa: B027  # nothing, unless a problem has files
        """Copy into a new run folder what going on needs beside options."""

    def check_saved(self, run: Path, options: Mapping[str, Any]) -> None:  # noqa: B027
        """Refuse to go on with a run where what ``save`` copied has changed since.

        Raises:
            InputError: naming what has changed.
        """

    def remarks(self) -> list[str]:
        """What a reader of any table about this problem should know."""
        return []

    def seen_by(self, run: str, config: Mapping[str, Any]) -> list[str]:
        """Remarks where a run's agent has trained on what is evaluated on."""
        return []

    def remarks_on(self, per_path: Any) -> list[str]:
        """What a reader of this table of episodes should know."""
        return []

    def errors(self, rows: np.ndarray | None) -> Errors:
        """What standard errors come from, for episodes that begin at these rows of a tape."""
        return Independent()

    # --- what can be achieved

    def build(self, baseline: type[Any]) -> Any:
        """A baseline of this class for this problem.

        Raises:
            InputError: where the class is not for such a problem.
        """
        raise InputError(
            f"{baseline.__name__}: is not for this problem, {self.describe()}; its baselines are those of its "
            f"`policies` ({', '.join(self.policies()) or 'none'}), and of its `build`"
        )

    def policies(self) -> Mapping[str, Callable[[], Any]]:
        """Baselines of the problem's own by name, beside those that everybody knows."""
        return {}

    def suggested(self) -> tuple[str, ...]:
        """Names of agents to compare others with; the reference first."""
        return (self.reference,)

    def bound(self) -> Bound:
        """The lower bound.

        Raises:
            NoBound: where there is none, with the reason.
        """
        raise NoBound("this problem has none")

    def optimum(self) -> Any:
        """The best achievable value: an object with ``value_bps``, ``error_bps`` and ``method``.

        Raises:
            NoBound: where it cannot be computed, with the reason.
        """
        raise NoBound("this problem has none that is known")

    def variates(self, n_paths: int) -> Variates:
        """Control variates of J for an evaluation on ``n_paths`` paths; a NoBound, as above, where there are none."""
        raise NoBound("this problem has none")

    def certify(self, n_paths: int, seed: int = 0, progress: bool = False) -> Any:
        """A statistical interval for the best achievable value: an object with ``describe()``.

        Args:
            n_paths: paths that it is from.
            seed: of these paths.
            progress: whether to show a progress bar.

        Raises:
            NoBound: where there is none, with the reason.
        """
        raise NoBound("this problem has none that is known")

    # --- stress tests

    def scenarios(
        self,
        names: Sequence[str] | None = None,
        severities: Sequence[float] = (),
        onset: float | None = None,
        onset_end: float | None = None,
    ) -> list[Scenario]:
        """Stress tests by name, each at its own severity or at all of those given; by default all."""
        return chosen([Scenario(NORMAL, None, {}, NORMAL, told=False)], names)

    def calm(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Options that take all stress out of the problem, and out of these options of it."""
        return {}

    def pairs_with(self, other: "Problem") -> bool:
        """Whether path i of the two is made of the same random numbers."""
        return type(self) is type(other)

    # --- what else can be done with it

    def behaviour(self) -> Any | None:
        """States in which agents are asked what they do; see ``exec_env.one_asset.behaviour``. None: no such map."""
        return None

    def panels(self) -> Sequence[Panel]:
        """What a picture of example paths shows, from top to bottom; columns of ``record``. Empty: no such picture."""
        return ()

    def picture(self, arrival_price: Any, history: list[dict[str, Any]]) -> np.ndarray:
        """An episode so far as a picture, for ``render_mode="rgb_array"``. Shape: (height, width, 3), uint8."""
        raise InputError("render_mode: this problem has no picture")

    def live(self, agent: Any, hours_per_day: float | None = None, limit_price: str | None = None) -> Any:
        """What drives the order from live snapshots, such as ``exec_env.one_asset.live.LiveExecutor``."""
        raise InputError(f"this problem cannot be driven live: {self.describe()}")

    def rehearse(self, agent: Any, row: int | None = None, limit_price: str | None = None) -> Any:
        """The same, and what it does in a dry run on the problem's tape, in plain values."""
        return self.live(agent)

    def torch(self, device: str) -> Any:
        """The market on a torch device, for gradients through it; see ``exec_env.one_asset.torch_market``."""
        raise InputError(f"this problem has no market of tensors: {self.describe()}")
