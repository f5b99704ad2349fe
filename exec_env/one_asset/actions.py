"""How an agent steers: four meanings of an action, each turned into shares by one line."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from exec_env.base.errors import InputError
from exec_env.base.validation import from_mapping, shown, unknown
from exec_env.envs.problem import Actions
from exec_env.market.execution import Slice, State
from exec_env.market.order import Order

PACE_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
"""Multiples of selling evenly what is left; level 1 is TWAP."""
PARTICIPATION_LEVELS = tuple(i / 10 for i in range(11))
"""Multiples of the cap on participation."""


_VOLUME = Slice._fields.index("volume")  # a slice of the single environment is a plain tuple


class _Mode(NamedTuple):
    meaning: str
    # (number behind the action, state, slice, slices left) -> shares asked for
    shares: Callable[[Any, State, Any, Any], Any]
    high: Callable[[Order], float]
    levels: Callable[[Order], tuple[float, ...]] | None = None


def _cap(order: Order) -> float:
    return 1.0 if order.max_participation is None else order.max_participation


# Named functions, not lambdas, so that environments can be pickled.
def _pace(a: Any, state: State, now: Any, left: Any) -> Any:
    return a * state.remaining / left


def _participation(a: Any, state: State, now: Any, left: Any) -> Any:
    return a * now[_VOLUME]


def _fraction(a: Any, state: State, now: Any, left: Any) -> Any:
    return a * state.remaining


def _of_the_rest(ask: Callable[..., Any], a: Any, state: State, now: Any, left: Any) -> Any:
    """Where the order is in lots: of what is left less what is carried, because that is asked for anyway."""
    return ask(a, state._replace(remaining=state.remaining - state.carried), now, left)


def _as_asked(a: Any, state: State, now: Any, left: Any) -> Any:
    return a


_MODES = {
    "pace": _Mode(
        "multiples of selling evenly what is left",
        _pace,
        lambda order: float(order.n_steps),
        lambda order: PACE_LEVELS,
    ),
    "participation": _Mode(
        "share of the slice's volume",
        _participation,
        _cap,
    ),
    "participation-levels": _Mode(
        "share of the slice's volume, in levels",
        _participation,
        _cap,
        lambda order: tuple(_cap(order) * level for level in PARTICIPATION_LEVELS),
    ),
    "fraction": _Mode(
        "fraction of the remaining inventory",
        _fraction,
        lambda order: 1.0,
    ),
    "shares": _Mode(
        "shares",
        _as_asked,
        lambda order: order.shares,
    ),
}

ACTION_MODES = tuple(_MODES)
"""Names of the action modes."""


@dataclass(frozen=True)
class ActionMode:
    """A meaning of an action, with its own levels where the action is discrete.

    Raises:
        InputError: for an unknown name, or levels that the mode cannot take.

    >>> ActionMode("pace").space(Order())
    Discrete(11)
    >>> ActionMode("fraction").space(Order())
    Box(0.0, 1.0, (1,), float32)
    """

    name: str
    levels: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in _MODES:
            raise InputError(unknown("action", self.name, _MODES))
        if self.levels is None:
            return
        if _MODES[self.name].levels is None:
            discrete = " or ".join(repr(n) for n, m in _MODES.items() if m.levels)
            raise InputError(f"levels = {self.levels!r}: action {self.name!r} has none; it must be {discrete}")
        try:
            levels = tuple(float(level) for level in self.levels)
        except (TypeError, ValueError):
            levels = ()
        if len(levels) < 2 or not all(0 <= level < np.inf for level in levels) or len(set(levels)) < len(levels):
            raise InputError(f"levels = {self.levels!r}: must be two or more different finite numbers >= 0")
        object.__setattr__(self, "levels", levels)

    @property
    def meaning(self) -> str:
        """What an action's number stands for."""
        return _MODES[self.name].meaning

    @property
    def n_levels(self) -> int:
        """Number of discrete actions.

        Raises:
            InputError: for a continuous mode.
        """
        return len(self.values(Order()))

    @property
    def is_discrete(self) -> bool:
        """Whether actions are indices of levels."""
        return _MODES[self.name].levels is not None

    def values(self, order: Order) -> np.ndarray:
        """The number behind each discrete action. Shape: (n_actions,).

        Raises:
            InputError: for a continuous mode.
        """
        default = _MODES[self.name].levels
        if default is None:
            raise InputError(f"action {self.name!r} is continuous and has no levels")
        return np.array(self.levels if self.levels is not None else default(order))

    def high(self, order: Order) -> float:
        """Largest continuous action."""
        return _MODES[self.name].high(order)

    def space(self, order: Order) -> gym.spaces.Discrete | gym.spaces.Box:
        """Gymnasium space of one action."""
        if self.is_discrete:
            return gym.spaces.Discrete(len(self.values(order)))
        return gym.spaces.Box(0.0, np.float32(self.high(order)), (1,), np.float32)

    @property
    def shares(self) -> Callable[[Any, State, Any, Any], Any]:
        """Function from the number behind an action to the shares asked for; floats, arrays or tensors.

        Its arguments: the number, the state, the slice, the slices left with this one.
        """
        return _MODES[self.name].shares


def get_action_mode(action: Any, levels: Any = None) -> ActionMode:
    """An action mode from its name, and levels of its own; or from its fields, as a run folder keeps them."""
    if isinstance(action, dict):
        action = from_mapping(ActionMode, action, "action")
    if isinstance(action, ActionMode):
        return action if levels is None else ActionMode(action.name, levels)
    return ActionMode(action, levels)


def described_mode(mode: Any) -> Any:
    """An action mode in plain values; that of another problem as its text."""
    if not isinstance(mode, ActionMode):
        return str(mode)
    return {"name": mode.name, "levels": None if mode.levels is None else list(mode.levels)}


def mode_from(described: Any, where: str) -> Any:
    """The action mode that ``described_mode`` described; an InputError that names ``where`` for anything else."""
    return described if isinstance(described, str) else from_mapping(ActionMode, described, where)


class OrderActions:
    """What actions mean for an order: see ``exec_env.envs.problem.Actions``.

    Args:
        mode: meaning of the actions.
        order: the order.
        like: a tensor, where batches of actions are tensors: gives device and precision of the numbers.

    Raises:
        InputError: for an action outside the space, naming it and what is allowed.
    """

    def __init__(self, mode: ActionMode, order: Order, like: Any = None) -> None:
        self.mode = mode
        self.ask = mode.shares if order.lots is None else partial(_of_the_rest, mode.shares)
        self.space: gym.Space[Any] = mode.space(order)
        self._order = order
        self._values = mode.values(order) if mode.is_discrete else None
        # Copied to the device here, once: it has to wait for that.
        self._like: Any = like if hasattr(like, "new_tensor") else None
        self._table = None if self._values is None or self._like is None else self._like.new_tensor(self._values)
        self._levels = [] if self._values is None else self._values.tolist()
        self._high = mode.high(order)
        # The space ends at the nearest single-precision number, which may be a little above or below.
        self._limit = max(self._high, float(np.float32(self._high)))
        self._what = f"action {mode.name!r}"

    def like(self, tensor: Any) -> Actions:
        """The same for batches of tensors, on the device of ``tensor``; as it is where that is an array."""
        return OrderActions(self.mode, self._order, tensor) if hasattr(tensor, "new_tensor") else self

    def one(self, action: Any) -> float:
        """The number behind one action: an int, a float, or an array of one of them."""
        if self._values is None:
            try:
                value = float(action) if np.ndim(action) == 0 else float(action[0])
                if 0.0 <= value <= self._limit and np.size(action) == 1:
                    return min(value, self._high)
            except (TypeError, ValueError, IndexError, OverflowError, RuntimeError):  # what is no number
                pass
            raise InputError(f"{self._what}: {shown(action)} is outside the space, a number in [0, {self._high:g}]")
        try:
            index = operator.index(action)
            if 0 <= index < len(self._levels):
                return self._levels[index]
        except TypeError:
            pass
        raise InputError(
            f"{self._what}: {shown(action)} is outside the space, an integer in 0 .. {len(self._levels) - 1}"
        )

    def many(self, actions: Any, n: int) -> Any:
        """The numbers behind a batch of actions, of shape (n,) or, if continuous, (n, 1). Shape: (n,).

        Of tensors only shape and type are checked, because a device would have to wait for their values: continuous
        ones are clipped to the space, and a negative index counts from the last level.
        """
        if self._like is not None:
            return self._of_tensor(actions, n)
        array = np.asarray(actions)
        self._check_shape(array.shape, n)
        if self._values is not None:
            if array.dtype.kind not in "iu" or (
                array.size and not (array.min() >= 0 and array.max() < len(self._values))
            ):
                raise InputError(
                    f"{self._what}: {shown(_worst(array, len(self._values) - 1))} is outside the space, "
                    f"integers in 0 .. {len(self._values) - 1}"
                )
            return self._values[array]
        array = array.reshape(n)
        if array.dtype.kind not in "iuf" or not (array.min() >= 0 and array.max() <= self._limit):
            raise InputError(
                f"{self._what}: {shown(_worst(array, self._limit))} is outside the space, "
                f"numbers in [0, {self._high:g}]"
            )
        return np.minimum(array.astype(np.float64), self._high)

    def _of_tensor(self, actions: Any, n: int) -> Any:
        """The numbers behind a tensor of actions, in the precision of the paths."""
        if not hasattr(actions, "new_tensor"):
            raise InputError(f"{self._what}: {type(actions).__name__} beside paths of tensors; must be a tensor too")
        self._check_shape(tuple(actions.shape), n)
        if self._table is None:
            return actions.reshape(n).to(self._like.dtype).clamp(0.0, self._high)
        if actions.is_floating_point():
            raise InputError(f"{self._what}: {actions.dtype} is outside the space, must be integers")
        return self._table[actions.long()]  # a tensor of bytes would be a mask

    def _check_shape(self, shape: tuple[int, ...], n: int) -> None:
        allowed = ((n,),) if self._values is not None else ((n,), (n, 1))
        if shape not in allowed:
            raise InputError(f"{self._what}: shape {shape} is outside the space, must be {allowed[-1]}")


def _worst(array: np.ndarray, high: float) -> Any:
    """The first element outside [0, high], or one to show the type by."""
    if array.dtype.kind not in "iuf":
        return array.flat[0]
    outside = array[~((array >= 0) & (array <= high))]
    return (outside if outside.size else array).flat[0].item()
