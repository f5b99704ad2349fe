"""Domain randomisation: every path plays a market of its own, drawn from stated ranges.

Parameters of all paths go through the equations of ``Market`` at once, as arrays with one row per path. What agents see
is still measured in units of the nominal market, so that they can tell the markets apart. Order and cap stay.

A field that is drawn moves alone. Impact follows the nominal σ S0 / V (``make_problem``), but not the volatility and
volume that are drawn for a path: ranges are for what is not known, of which the relation between them is a part. Draw
temporary and permanent impact too where they should vary; transient impact cannot be drawn.

Source: Tobin et al. (2017), "Domain randomization for transferring deep neural networks from simulation to the real
world"; Peng et al. (2018), "Sim-to-real transfer of robotic control with dynamics randomization".
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exec_env.base.errors import InputError
from exec_env.base.namespace import namespace
from exec_env.base.validation import unknown
from exec_env.data.episodes import TapeSource
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import GIVEN, Normals, Paths, Simulator
from exec_env.market.stress import STRESSES, Stress, StressName

FIELDS = (
    *("volatility", "volatility_elasticity", "liquidity_reversion", "liquidity_volatility", "daily_volume"),
    *("volume_noise", "half_spread", "spread_elasticity", "spread_noise", "temporary_impact", "impact_noise"),
    *("impact_exponent", "reference_participation", "permanent_impact", "resilience", "decay_noise"),
)
"""Fields of Market that can differ from path to path: those that slices are made of."""
PARAMETERS = ("volatility", "half_spread", "temporary_impact", "permanent_impact", "daily_volume", "resilience")
"""What "parameters" draws, each from half to twice its value."""
NAMED = {
    "stress": "every regime, the normal one among them, with equal chance; onset and severity random",
    "parameters": f"{', '.join(PARAMETERS)}, each from half to twice its value",
}
"""Ranges by name."""
_SHOCKS: StressName = "liquidity-shocks"
_SWITCHING = "regime-switching"
_FARTHEST = 1e6  # between the ends of a range, and from the nominal value
_KINDS = (*STRESSES, _SWITCHING)


class Markets(Market):
    """Many markets at once, one per path: fields and the factors of the stress may have shape (n_paths, 1).

    Made by ``Ranges.markets`` from ranges that were checked, so that it does not check itself.
    """

    stressed_by: Stress | None = None
    """What the stress does to each path; None where it is the nominal market's."""

    @classmethod
    def of(cls, nominal: Market, stressed_by: Stress | None = None, **columns: Any) -> "Markets":
        """The nominal market with some fields replaced by columns."""
        new = object.__new__(cls)
        for f in dataclasses.fields(Market):
            object.__setattr__(new, f.name, columns.get(f.name, getattr(nominal, f.name)))
        object.__setattr__(new, "stressed_by", stressed_by)
        return new

    @property
    def own_stress(self) -> Stress:
        """What the stress does to each path once it has begun."""
        return super().own_stress if self.stressed_by is None else self.stressed_by

    @property
    def shocks(self) -> tuple[float, Any]:
        """Rate and, for each path, size of liquidity shocks."""
        if self.stressed_by is None:
            return super().shocks
        return self.stressed_by.shock_rate, -namespace(self.stressed_by.shock).log(self.stressed_by.shock)

    @property
    def has_shocks(self) -> bool:
        """Whether shocks can come on some path."""
        return super().has_shocks if self.stressed_by is None else self.stressed_by.shock_rate > 0

    @property
    def flat(self) -> "Markets":
        """The same for one slice of all paths: columns of shape (n_paths,)."""
        columns = {f.name: _flat(getattr(self, f.name)) for f in dataclasses.fields(Market)}
        by = self.stressed_by
        flat = by and dataclasses.replace(by, **{k: _flat(v) for k, v in vars(by).items()})
        return Markets.of(self, flat, **columns)


def _flat(value: Any) -> Any:
    return value[:, 0] if getattr(value, "ndim", 0) == 2 else value


@dataclass(frozen=True)
class Ranges:
    """What the market of each path is drawn from."""

    fields: tuple[tuple[str, float, float], ...]
    """Name, lowest and highest value; log-uniform in between where both are positive, else uniform."""
    stress: bool = False
    """Whether each path is put under one of ``STRESSES`` or a poor regime that comes and goes, with equal chance; from
    an onset uniform over the horizon; its factors raised to a power uniform in [0, 1]."""
    paths_per_market: int = 1
    """Paths in a row that play the same market, drawn once for them; see ``shared``."""

    @classmethod
    def parse(cls, randomise: str | Sequence[str], market: Market, recorded: bool = False) -> "Ranges":
        """Ranges from texts: names of ``NAMED``, and NAME=LOW:HIGH for fields of ``FIELDS``, which win over named ones.

        Raises:
            InputError: for anything else, values that a field refuses, and where there is a stress already.

        >>> Ranges.parse(["volatility=0.01:0.04"], Market()).fields
        (('volatility', 0.01, 0.04),)
        """
        named, given = _sorted_out(randomise)
        found: dict[str, tuple[float, float]] = {}
        if "parameters" in named:
            settled = {name for name in PARAMETERS if recorded and name not in GIVEN}
            found = {n: (getattr(market, n) / 2, 2 * getattr(market, n)) for n in PARAMETERS if n not in settled}
        found |= {name: _ends(name, ends, market, recorded) for name, ends in given.items()}
        if "stress" in named:
            _refuse_second_stress(market)
        if "reference_participation" in found and market.impact_exponent == 1 and "impact_exponent" not in found:
            raise InputError("randomise: reference_participation has no effect where impact_exponent = 1")
        if not found and "stress" not in named:
            raise InputError(f"randomise: names nothing; it takes {', '.join(NAMED)}, or NAME=LOW:HIGH")
        return cls(tuple((name, *ends) for name, ends in found.items()), "stress" in named)

    def check(self, market: Market, order: Order) -> None:
        """Refuse an order whose slices are too long for the shocks that come on some paths.

        Raises:
            InputError: naming the stress, its rate and what is allowed.
        """
        if self.stress:
            try:
                dataclasses.replace(market, stress=_SHOCKS, shock_size=0.0).shock_probability(order.slice_length)
            except InputError as error:
                raise InputError(f"randomise = 'stress': {error}") from None

    @property
    def n_draws(self) -> int:
        """Standard normals that a path's market takes."""
        return len(self.fields) + (2 if self.stress else 0)

    def used(self, market: Market) -> list[str]:
        """Factors that are drawn beside them; see ``Normals.used``."""
        names = set(Normals.used(market)) | ({"shock", "onset", "regime"} if self.stress else set())
        return [name for name in Normals._fields if name in names]

    def markets(self, nominal: Market, z: Any) -> Markets:
        """The market of each path.

        Args:
            nominal: what is not drawn.
            z: standard normals, an array or a tensor. Shape: (n_paths, n_draws).
        """
        if self.paths_per_market > 1:
            z = z[np.arange(len(z)) // self.paths_per_market * self.paths_per_market]
        u = namespace(z).ndtr(z)
        columns = {}
        for i, (name, low, high) in enumerate(self.fields):
            at = u[:, i : i + 1]
            columns[name] = low * (high / low) ** at if low > 0 else low + (high - low) * at
        if not self.stress:
            return Markets.of(nominal, **columns)
        which, severity = u[:, -2:-1], u[:, -1:]

        def power(kind: int) -> Any:
            """The severity where a path is of that kind, else zero."""
            here = (which >= kind / len(_KINDS)) & (which < (kind + 1) / len(_KINDS))
            return severity * here

        factors = dict.fromkeys(("liquidity", "volatility", "impact", "shock"), 1.0)
        for kind, stress in enumerate(STRESSES.values()):
            for name in factors:
                own = getattr(stress, name)
                if own != 1.0:
                    factors[name] = factors[name] * own ** power(kind)
        poor = power(_KINDS.index(_SWITCHING))
        columns |= {
            **{"stress": _SHOCKS, "stress_onset": 0.0, "stress_onset_end": 1.0, "regime_rate": 2.0},
            "regime_liquidity": nominal.regime_liquidity**poor,
            "regime_volatility": nominal.regime_volatility**poor,
        }
        rate = STRESSES[_SHOCKS].shock_rate
        return Markets.of(nominal, Stress("drawn for each path", shock_rate=rate, **factors), **columns)


def shared(problem: Any, paths_per_market: int) -> Any:
    """The same problem, of which so many paths in a row play one market: so the cost of each market can be estimated.

    For ``sample`` from one generator and for tensors. Environments play path by path, each in a market of its own.

    Args:
        problem: one that draws markets.
        paths_per_market: paths of each.
    """
    ranges = dataclasses.replace(problem.ranges, paths_per_market=paths_per_market)
    return dataclasses.replace(problem, ranges=ranges, source=dataclasses.replace(problem.source, ranges=ranges))


def _sorted_out(randomise: str | Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Names of ``NAMED``, and LOW:HIGH of each field that has its own, as text."""
    texts = [randomise] if isinstance(randomise, str) else randomise
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise InputError(f"randomise = {randomise!r}: must be one of {', '.join(NAMED)}, or NAME=LOW:HIGH")
    named, given = [text for text in texts if "=" not in text], dict[str, str]()
    for name in named:
        if name not in NAMED:
            raise InputError(f"randomise: {unknown('ranges', name, NAMED)}, or NAME=LOW:HIGH")
    for text in texts:
        name, equals, ends = text.partition("=")
        if not equals:
            continue
        name = name.strip()
        if name in given:
            raise InputError(f"randomise = {text!r}: {name} is named twice")
        given[name] = ends
    return named, given


def _refuse_second_stress(market: Market) -> None:
    for name in ("stress", "regime_rate", "shock_rate"):
        if getattr(market, name) not in ("none", 0.0):
            raise InputError(f"randomise = 'stress': Market.{name} = {getattr(market, name)!r} is one already")


def _ends(name: str, text: str, market: Market, recorded: bool) -> tuple[float, float]:
    """Lowest and highest value of a field."""
    if name not in FIELDS:
        raise InputError(f"randomise: {unknown('field', name, FIELDS)}")
    if recorded and name not in GIVEN:
        raise InputError(f"randomise = '{name}={text}': {name} comes from the tape")
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        raise InputError(f"randomise = '{name}={text}': must read NAME=LOW:HIGH, both numbers") from None
    most = high / _FARTHEST if low > 0 else -math.inf
    if low <= high < math.inf and (low < most or max(-low, high) > _FARTHEST * max(1.0, abs(getattr(market, name)))):
        raise InputError(
            f"randomise = '{name}={text}': too wide; the highest must be at most {_FARTHEST:g} times the lowest, and "
            f"of the nominal {getattr(market, name):g} or of one"
        )
    for end in (low, high):
        # An end is linear impact or not, whatever the nominal market is.
        power: dict[str, Any] = {"impact_exponent": 0.5, "reference_participation": Market.reference_participation}
        changed = power | {name: end}
        dataclasses.replace(market, **changed)  # the field itself says what it refuses
    if low > high:
        raise InputError(f"randomise = '{name}={text}': the lowest value is above the highest")
    return low, high


@dataclass(frozen=True)
class RandomisedSimulator(Simulator):
    """Paths drawn from the equations, each from a market of its own. A pure function of the generators."""

    ranges: Ranges

    def sample(self, rngs: Sequence[np.random.Generator], n_paths: int = 1) -> Paths:
        """Path by path from each generator, so that path e never depends on how many are drawn at once."""
        names, n_steps, n_draws = self.ranges.used(self.market), self.order.n_steps, self.ranges.n_draws
        block = np.empty((len(rngs), n_paths, n_draws + len(names) * n_steps))
        for rng, out in zip(rngs, block, strict=True):
            rng.standard_normal(out=out)
        z = block.reshape(-1, block.shape[-1])
        factors = z[:, n_draws:].reshape(-1, len(names), n_steps)
        normals = Normals(**{name: factors[:, i] for i, name in enumerate(names)})
        return Paths.shaped(self.ranges.markets(self.market, z[:, :n_draws]), self.order, normals)


@dataclass(frozen=True)
class RandomisedTape(TapeSource):
    """Episodes of a tape, each under a stress and an impact of its own."""

    ranges: Ranges

    @property
    def _draws(self) -> bool:
        return True

    @property
    def _random(self) -> list[str]:
        return [name for name in self.ranges.used(self.market) if name in ("shock", "onset", "regime")]

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        """One row more, whose first numbers are those of the market."""
        rows = math.ceil(self.ranges.n_draws / self.order.n_steps)
        return rng.standard_normal((len(self._random) + rows, self.order.n_steps))

    def _paths(self, starts: np.ndarray, z: np.ndarray) -> Paths:
        n = len(self._random)
        own = z[:, n:].reshape(len(z), -1)[:, : self.ranges.n_draws]
        zeros = np.zeros((6, len(z), self.order.n_steps))
        normals = Normals(*zeros, **{name: z[:, i] for i, name in enumerate(self._random)})
        return self.tape.paths(self.ranges.markets(self.market, own), self.order, starts, normals)
