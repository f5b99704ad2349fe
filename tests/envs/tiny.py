"""Three tiny problems, each with something that the problem of one asset does not have.

``basket``: two assets, an action of two numbers. ``two_orders``: one order after another in an episode.
``arrivals``: a varying number of events in each slice. ``exec_env.register`` takes them as they stand here.
"""

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from exec_env.base.errors import InputError
from exec_env.base.namespace import namespace
from exec_env.envs.problem import Bound, Panel, Problem
from exec_env.envs.reward import Reward
from exec_env.envs.scenario import NORMAL, Scenario, chosen
from exec_env.market.paths import Paths


class TinyActions:
    """Numbers of a box, or levels of a discrete action, by the problem's own ``ask``."""

    def __init__(self, mode: str, space: gym.Space[Any], ask: Any) -> None:
        self.mode, self.space, self.ask = mode, space, ask

    def one(self, action: Any) -> Any:
        if not self.space.contains(np.asarray(action, self.space.dtype)):
            raise InputError(f"action {self.mode!r}: {action!r} is outside the space")
        return int(action) if isinstance(self.space, gym.spaces.Discrete) else np.asarray(action, float)

    def many(self, actions: Any, n: int) -> Any:
        actions = np.asarray(actions)
        if actions.shape != (n, *self.space.shape):
            raise InputError(f"action {self.mode!r}: shape {actions.shape} is outside the space")
        return actions.astype(np.float64)

    def like(self, tensor: Any) -> "TinyActions":
        return self


class Even:
    """Trades evenly, in the action mode of its problem."""

    def __init__(self, action: Any, mode: str) -> None:
        self.action, self.action_mode = np.asarray(action), mode

    def act(self, observations: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self.action, (len(observations), *self.action.shape))


class Tiny(Problem):
    """What the three share: volatility is the option that stress tests vary."""

    components = ("impact", "price")
    reference = "even"
    varied = ("volatility",)

    def __init__(self, n_steps: int, size: float, volatility: float, reward: Any, features: Any) -> None:
        self.n_steps, self.size, self.volatility = n_steps, size, volatility
        self.reward, self.features = Reward(reward), features or {}

    def scenarios(self, names: Any = None, severities: Any = (), onset: Any = None, onset_end: Any = None) -> Any:
        normal = Scenario(NORMAL, None, {}, NORMAL, told=False)
        return chosen([normal, Scenario("storm", 4.0, {"volatility": 0.08}, "storm × 4")], names)

    def panels(self) -> tuple[Panel, ...]:
        return (Panel("block", "block"),)


class BasketState(NamedTuple):
    remaining: Any  # (..., 2)
    move: Any  # (..., 2)


class BasketSlice(NamedTuple):
    noise: Any  # (..., 2)


class BasketFill(NamedTuple):
    shortfall: Any
    objective: Any
    impact: Any
    price: Any
    drift: Any
    risk: Any
    block: Any


class Basket(Tiny):
    """Two assets; an action is the fraction of each that is sold. Temporary impact is linear, risk is charged."""

    names = ("time_left", "left_a", "left_b")
    shares = np.array([100.0, 300.0])

    def sample(self, rngs: Any, n_paths: int = 1) -> Paths:
        noise = np.concatenate([rng.standard_normal((n_paths, self.n_steps, 2)) for rng in rngs])
        return Paths(BasketSlice(self.volatility * noise), np.tile([10.0, 20.0], (len(noise), 1)))

    def notional(self, arrival_price: Any) -> Any:
        return (self.shares * arrival_price).sum(-1)

    def opening(self, zero: Any = 0.0) -> BasketState:
        zeros = np.asarray(zero)[..., None] * np.ones(2)
        return BasketState(self.shares + zeros, zeros.copy())

    def actions(self, mode: Any = None) -> TinyActions:
        box = gym.spaces.Box(0.0, 1.0, (2,), np.float32)
        return TinyActions("fractions", box, lambda values, state, now, left: values * state.remaining)

    def step(self, state: BasketState, now: BasketSlice, asked: Any, left: Any) -> tuple[BasketState, BasketFill]:
        last = np.asarray(left == 1)[..., None]
        traded = np.clip(np.where(last, state.remaining, asked), 0.0, state.remaining)
        after = state.remaining - traded
        impact = (0.001 * traded**2).sum(-1)
        price = -(after * now.noise).sum(-1)
        risk = 1e-4 * (after**2).sum(-1)
        shortfall = impact - (traded * state.move).sum(-1)
        fill = BasketFill(shortfall, impact + risk, impact, price, 0.0 * price, risk, 0.0 * impact)
        return BasketState(after, state.move + now.noise), fill

    def seen(self, now: BasketSlice) -> tuple[()]:
        return ()

    def observe(self, state: BasketState, seen: Any, left: Any) -> tuple[Any, ...]:
        fractions = state.remaining / self.shares
        return left / self.n_steps, fractions[..., 0], fractions[..., 1]

    def policies(self) -> Any:
        n = self.n_steps

        class EvenBasket(Even):
            def act(self, observations: np.ndarray) -> np.ndarray:
                left = np.rint(observations[:, :1] * n)
                return np.repeat(1.0 / np.maximum(left, 1.0), 2, 1).astype(np.float32)

        return {"even": lambda: EvenBasket([0.0, 0.0], "fractions")}

    def bound(self) -> Bound:
        return Bound(0.0)


class LotState(NamedTuple):
    remaining: Any
    done: Any


class TwoOrdersSlice(NamedTuple):
    cost: Any


class LotFill(NamedTuple):
    shortfall: Any
    objective: Any
    impact: Any
    price: Any
    drift: Any
    risk: Any
    block: Any


class TwoOrders(Tiny):
    """Two orders of half the size, one after the other; what is left of one is sold when its slices are over."""

    names = ("time_left", "inventory_left", "cost")

    def sample(self, rngs: Any, n_paths: int = 1) -> Paths:
        z = np.concatenate([rng.standard_normal((n_paths, self.n_steps)) for rng in rngs])
        return Paths(TwoOrdersSlice(np.exp(self.volatility * z)), np.full(len(z), 10.0))

    def notional(self, arrival_price: Any) -> Any:
        return self.size * arrival_price

    def opening(self, zero: Any = 0.0) -> LotState:
        return LotState(self.size / 2 + zero, 0.0 * zero)

    def actions(self, mode: Any = None) -> TinyActions:
        return TinyActions("quarters", gym.spaces.Discrete(5), lambda v, state, now, left: 0.25 * v * state.remaining)

    def step(self, state: LotState, now: TwoOrdersSlice, asked: Any, left: Any) -> tuple[LotState, LotFill]:
        half = self.n_steps // 2
        ends = 1.0 * ((left == 1) | (left == half + 1))  # of the first order, or of the second
        block = ends * (state.remaining - asked)
        traded = asked + block
        impact = 0.01 * now.cost * (asked * asked + 3.0 * block * block)
        again = 1.0 * (left == half + 1)  # the second order arrives
        after = LotState(state.remaining - traded + again * self.size / 2, state.done + traded)
        return after, LotFill(impact, impact, impact, 0.0 * impact, 0.0 * impact, 0.0 * impact, block)

    def seen(self, now: TwoOrdersSlice) -> Any:
        return now.cost

    def observe(self, state: LotState, seen: Any, left: Any) -> tuple[Any, ...]:
        return left / self.n_steps, 2 * state.remaining / self.size, seen

    def policies(self) -> Any:
        return {"even": lambda: Even(2, "quarters")}


class ArrivalsSlice(NamedTuple):
    count: Any  # (...,)
    reach: Any  # (..., most events): how deep each opposite order reaches


class Arrivals(Tiny):
    """Lots rest at a depth; each opposite order of the slice that reaches it takes one. The rest crosses at the end."""

    names = ("time_left", "lots_left")
    most = 6

    def sample(self, rngs: Any, n_paths: int = 1) -> Paths:
        counts, reaches = [], []
        for rng in rngs:
            for _ in range(n_paths):  # path by path
                counts.append(np.minimum(rng.poisson(2.0, self.n_steps), self.most))
                reaches.append(rng.exponential(1.0, (self.n_steps, self.most)))
        count = np.array(counts, float)
        return Paths(ArrivalsSlice(count, np.array(reaches)), np.full(len(count), 10.0))

    def notional(self, arrival_price: Any) -> Any:
        return self.size * arrival_price

    def opening(self, zero: Any = 0.0) -> LotState:
        return LotState(self.size + zero, 0.0 * zero)

    def actions(self, mode: Any = None) -> TinyActions:
        return TinyActions("depth", gym.spaces.Discrete(4), lambda values, state, now, left: 0.5 * values)

    def step(self, state: LotState, now: ArrivalsSlice, asked: Any, left: Any) -> tuple[LotState, LotFill]:
        came = np.arange(self.most) < np.asarray(now.count)[..., None]
        hits = 1.0 * (came & (np.asarray(now.reach) >= np.asarray(asked)[..., None])).sum(-1)
        xp = namespace(state.remaining)
        filled = xp.minimum(state.remaining, hits if np.ndim(hits) else float(hits))
        block = 1.0 * (left == 1) * (state.remaining - filled)
        impact = 0.5 * self.volatility * block - 0.01 * asked * filled
        after = LotState(state.remaining - filled - block, state.done + filled + block)
        return after, LotFill(impact, impact, impact, 0.0 * impact, 0.0 * impact, 0.0 * impact, block)

    def over(self, state: LotState, left: Any) -> Any:
        return (state.remaining <= 0) | (left <= 0)

    def seen(self, now: ArrivalsSlice) -> tuple[()]:
        return ()

    def observe(self, state: LotState, seen: Any, left: Any) -> tuple[Any, ...]:
        return left / self.n_steps, state.remaining / self.size

    def policies(self) -> Any:
        return {"even": lambda: Even(0, "depth")}


def basket(n_steps: int = 4, volatility: float = 0.02, reward: Any = "expected", features: Any = None) -> Basket:
    return Basket(n_steps, 400.0, volatility, reward, features)


def two_orders(n_steps: int = 6, volatility: float = 0.02, reward: Any = "expected", features: Any = None) -> TwoOrders:
    return TwoOrders(n_steps, 80.0, volatility, reward, features)


def arrivals(n_steps: int = 5, volatility: float = 0.02, reward: Any = "expected", features: Any = None) -> Arrivals:
    return Arrivals(n_steps, 6.0, volatility, reward, features)
