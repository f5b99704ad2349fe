"""The market: its parameters, and the equations that shape standard normals into one slice."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any, Literal

import numpy as np

from exec_env.base.errors import InputError
from exec_env.base.namespace import namespace
from exec_env.base.validation import Bounds, Finite, NonNegative, Positive, Probability, check_fields
from exec_env.market.clock import known_profile, nights, profile_of
from exec_env.market.order import Order
from exec_env.market.stress import STRESSES, Factors, Stress, StressName, begun

BPS = 1e-4
"""One basis point, as a fraction."""
Multiplier = Annotated[float, Bounds(low=1e-6, high=1e6)]
"""Range of a factor that multiplies a market. Beyond this range nothing trades, or nothing costs anything."""
NOISES = tuple(f"{name}_noise" for name in ("volume", "spread", "impact", "decay", "slippage"))
"""Fields of Market that are noise from slice to slice."""
Exponent = Annotated[float, Bounds(low=0.1, high=2.0)]
"""Power of the trading rate that impact grows with."""


def lognormal(exponent: float, log_liquidity: Any, std: Any, noise: Any = 0.0, z: Any = 0.0) -> Any:
    """Mean-one factor: a loading on log liquidity times a mean-one noise.

        f_e(ℓ) m(z; v) = exp(e ℓ − e² s² / 2) · exp(v z − v² / 2)

    Args:
        exponent: elasticity e to liquidity.
        log_liquidity: ℓ, normal with mean zero and standard deviation ``std``.
        std: s, stationary standard deviation of ℓ.
        noise: v, log standard deviation of the noise.
        z: standard normal, independent of ℓ.

    Shape:
        Whatever ``log_liquidity`` and ``z`` broadcast to.

    >>> z = np.random.default_rng(0).standard_normal((2, 1_000_000))
    >>> float(lognormal(-1.0, 0.6 * z[0], 0.6, 0.3, z[1]).mean().round(2))
    1.0
    """
    exponents = exponent * log_liquidity + noise * z - 0.5 * (exponent**2 * std**2 + noise**2)
    return namespace(exponents).exp(exponents)


@dataclass(frozen=True)
class Market:
    """An Almgren-Chriss market with random liquidity, spread, volume and impact.

    Every field is taken as it stands here. Where options change the price, the volatility or the volume of a market
    (``exec_env.one_asset.options.make_problem``), impact that is not given follows σ S0 / V; see ``rescaled``.

    Spread, volume, impact and decay speed are the parameters times factors of mean one, and so is variance, where there
    are no shocks, no regimes and no stress: the parameters are then the averages, whatever the elasticities. Shocks
    lower liquidity itself, whose factors then have another mean: less volume, more spread and impact. A poor regime and
    a stress multiply slices on top, so that averages over an order are those of a poorer market, too. The share of a
    push that a slice leaves, e^{−ρ Δ m}, has a mean a little above e^{−ρ Δ}.

    The defaults have the scale that equity markets show for an order of 4 % of the daily volume: sold evenly over half
    a session it costs about 0.3 σ √(X / V). Two fifths of its impact come from its size (γ, κ), the rest from its rate
    (η); the spread is that of a stock that trades 500 M$ a day, and volatility does not move with volume
    (``volatility_elasticity``). Temporary impact is linear unless ``impact_exponent`` says otherwise; the preset
    ``almgren-2005`` has the impact of Almgren, Thum, Hauptmann & Li (2005), "Direct estimation of equity market
    impact": temporary 0.142 σ (rate / V)^0.6, permanent 0.314 σ (X / V) (Θ / V)^¼, with Θ shares outstanding. Linear
    impact alone has a proven bound (``exec_env.optimum.lq``); others have a best achievable value
    (``exec_env.optimum.dynamic_programming``).

    Raises:
        InputError: naming the field, the value and what is allowed.
    """

    arrival_price: Positive = 100.0
    """Mid price S0 when the order arrives. [$]"""
    volatility: NonNegative = 0.02
    """σ, as a fraction of the arrival price. [1/√day]"""
    volatility_elasticity: Finite = 0.0
    """c: volatility moves with liquidity to this power; positive in Almgren (2012), where both come with news."""

    liquidity_reversion: Positive = 7.8
    """θ: speed at which log liquidity returns to its mean. [1/day]"""
    liquidity_volatility: NonNegative = 0.5
    """s: stationary standard deviation of log liquidity; 0 switches it off."""
    shock_rate: NonNegative = 0.0
    """Expected number of liquidity shocks. [1/day]"""
    shock_size: NonNegative = 0.0
    """Fall of log liquidity in a shock; it recovers at speed θ."""

    daily_volume: Positive = 5_000_000.0
    """V: mean market volume. [shares/day]"""
    volume_profile: Literal["flat", "u-shaped"] | tuple[NonNegative, ...] | Path = "flat"
    """Mean volume over a session: flat; u-shaped, high at both ends; or volumes of its slices, as many as there are, by
    number or from the column ``volume`` of a CSV file, of which the numbers are kept. Where the order has no
    ``Order.arrival`` and stays within a session, u-shaped is over its horizon."""
    volume_noise: NonNegative = 0.4
    """Log standard deviation of a slice's volume given liquidity."""

    half_spread: NonNegative = 1.0
    """h: mean half spread. [bps of the arrival price]"""
    spread_elasticity: Finite = 0.5
    """β: the spread moves with liquidity to the power −β."""
    spread_noise: NonNegative = 0.3
    """Log standard deviation of the spread given liquidity."""

    temporary_impact: NonNegative = 1.6e-7
    """η: price concession per trading rate. [$/share per share/day]"""
    impact_exponent: Exponent = 1.0
    """δ: the concession is η rate (rate / reference)^(δ − 1); 1 is linear, 0.5 and 0.6 are what markets show."""
    reference_participation: Positive = 0.1
    """Trading rate at which the concession is η · rate whatever δ, as a part of the daily volume V."""
    impact_noise: NonNegative = 0.3
    """Log standard deviation of temporary impact given liquidity; not seen before trading."""
    permanent_impact: NonNegative = 2.5e-7
    """γ: lasting push of the price. [$/share per share]"""
    transient_impact: NonNegative = 6e-7
    """κ: push of the price that decays. [$/share per share]"""
    resilience: NonNegative = 10.0
    """ρ: decay speed of the transient push. [1/day]"""
    decay_noise: NonNegative = 0.3
    """Log standard deviation of the decay speed from slice to slice."""

    taker_fee: NonNegative = 0.0
    """Fee on each share that is traded, those of the closing block included. All is traded in the end, so that it adds
    the same to the cost of every policy. [bps of the arrival price]"""
    maker_rebate: Finite = 0.0
    """Paid to who rests an order that another hits; where all orders are market orders there is none. [bps of the
    arrival price]"""
    tick_size: NonNegative = 0.0
    """Steps of the limit prices of live orders; 0: any price. Prices of the simulated market move without ticks. [$]"""
    overnight_variance: NonNegative = 0.0
    """Variance of the price over a night, as a multiple of that over a session; it moves with that of the slice before.
    Nothing else but the transient push knows of a night: liquidity, regimes and signal go by trading time."""
    night_length: NonNegative = 0.0
    """Length of a night, over which the transient push decays as in a session: 17.5 hours after 6.5 of trading are
    2.7. [day]"""

    slippage_noise: NonNegative = 0.0
    """Standard deviation of Gaussian slippage on each fill. [bps of the arrival price]"""
    signal: Finite = 0.0
    """α: expected drift of the price at arrival, in the order's favour (up for a sell, down for a buy). [1/day]"""
    signal_volatility: NonNegative = 0.0
    """Stationary standard deviation of the random part of α. [1/day]"""
    signal_reversion: Positive = 10.0
    """Speed at which α decays to zero. [1/day]"""

    regime_rate: NonNegative = 0.0
    """Rate of switching from the normal to a poor regime, a two-state Markov chain; 0: there is none. [1/day]"""
    regime_recovery: Positive = 6.0
    """Rate of switching back. [1/day]"""
    regime_liquidity: Multiplier = 0.3
    """Factor of liquidity in the poor regime."""
    regime_volatility: Multiplier = 2.0
    """Factor of volatility in the poor regime, on top of what follows from liquidity."""

    stress: StressName = "none"
    """What happens to the market from ``stress_onset`` on."""
    stress_onset: Probability = 0.5
    """Part of the order's horizon after which the stress begins."""
    stress_onset_end: Probability | None = None
    """The onset is random, uniform between ``stress_onset`` and this part of the horizon; None: it is fixed."""
    stress_factor: Multiplier | None = None
    """What the stress multiplies by (liquidity-shocks: what a shock leaves of liquidity); None: the stress's own."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "volume_profile", known_profile(self.volume_profile))
        check_fields(self)
        if self.stress == "none" and self.stress_factor is not None:
            raise InputError(f"Market.stress_factor = {self.stress_factor!r}: there is no stress")
        if self.stress == "none" and self.stress_onset_end is not None:
            raise InputError(f"Market.stress_onset_end = {self.stress_onset_end!r}: there is no stress")
        if self.stress_onset_end is not None and self.stress_onset_end < self.stress_onset:
            raise InputError(
                f"Market.stress_onset_end = {self.stress_onset_end!r}: must not be before "
                f"stress_onset = {self.stress_onset!r}"
            )
        # What would have no effect is refused; a rate alone is not, because replace(market, shock_rate=0.0) is fine.
        for name in ("shock_rate", "shock_size") if STRESSES[self.stress].shock_rate > 0 else ():
            if (value := getattr(self, name)) != 0:
                raise InputError(
                    f"Market.{name} = {value!r}: no effect beside stress = {self.stress!r}, which has shocks of its own"
                )
        for name in ("regime_recovery", "regime_liquidity", "regime_volatility") if self.regime_rate == 0 else ():
            if (value := getattr(self, name)) != getattr(Market, name):
                raise InputError(f"Market.{name} = {value!r}: no effect where regime_rate = 0, so that no regime comes")
        if self.impact_exponent == 1 and self.reference_participation != Market.reference_participation:
            raise InputError(
                f"Market.reference_participation = {self.reference_participation!r}: no effect where "
                "impact_exponent = 1, so that impact is linear"
            )

    @property
    def fee(self) -> Any:
        """``taker_fee`` of one share. [$]"""
        return self.taker_fee * BPS * self.arrival_price

    @property
    def own_stress(self) -> Stress:
        """The stress at the market's own severity: what it does once it has begun."""
        own = STRESSES[self.stress]
        return own if self.stress_factor is None else own.scaled(self.stress_factor)

    @property
    def flat(self) -> "Market":
        """What one slice of all paths is made with: itself; see ``exec_env.one_asset.randomise.Markets``."""
        return self

    @property
    def random_onset(self) -> bool:
        """Whether nobody can know when the stress begins."""
        return self.stress_onset_end is not None and self.stress_onset_end > self.stress_onset

    @property
    def shocks(self) -> tuple[float, float]:
        """Rate [1/day] and size of liquidity shocks: those of the fields, or of the stress where it is such shocks."""
        stress = self.own_stress
        if stress.shock_rate == 0:
            return self.shock_rate, self.shock_size
        return stress.shock_rate, -namespace(stress.shock).log(stress.shock)

    @property
    def has_shocks(self) -> bool:
        """Whether liquidity shocks can come."""
        rate, size = self.shocks
        return rate > 0 and size != 0

    def stress_begun(self, n_steps: int) -> np.ndarray:
        """Probability that the stress has begun by each slice: 0 or 1 if its onset is fixed. Shape: (n_steps,)."""
        return begun(self.stress_onset, self.stress_onset_end, n_steps)

    def stress_factors(self, n_steps: int) -> Factors:
        """Multipliers of each slice by the stress, from the middle of its onsets on. Shape of each: (n_steps,)."""
        return self.own_stress.factors((self.stress_begun(n_steps) > 0.5).astype(float))

    def spans(self, order: Order) -> tuple[Any, Any]:
        """Length of each slice with the night after it: for the price's variance, and by the clock. [day]

        Numbers where all are the same, else of shape (n_steps,).

        Raises:
            InputError: for a slice that goes over the end of a session.
        """
        dt, none = order.slice_length, self.overnight_variance == 0 and self.night_length == 0
        if none or not (night := nights(order)).any():
            return dt, dt
        return float(dt) + float(self.overnight_variance) * night, float(dt) + float(self.night_length) * night

    def regime_probabilities(self, slice_length: float) -> tuple[float, float, float]:
        """Probability of the poor regime at arrival, of switching to it within a slice, and of switching back.

        Exact for a chain in continuous time: π, π (1 − e^{−(r + q) Δ}) and (1 − π) (1 − e^{−(r + q) Δ}) with rates r
        and q there and back, π = r / (r + q).
        """
        total = self.regime_rate + self.regime_recovery
        poor, moved = self.regime_rate / total, -math.expm1(-total * slice_length)
        return poor, poor * moved, (1 - poor) * moved

    def rescaled(self, arrival_price: float, volatility: float, daily_volume: float) -> "Market":
        """A market of another price, volatility and volume, where a participation costs as much of the volatility.

        η, γ, κ ∝ σ S0 / V: Almgren, Thum, Hauptmann & Li (2005), equations (3) and (4). The exponent of impact and its
        reference, a participation, stay. Where a volatility is 0 it says nothing of impact, which follows S0 / V.

        >>> f"{Market().rescaled(arrival_price=50.0, volatility=0.04, daily_volume=1e6).temporary_impact:.2e}"
        '8.00e-07'
        """
        known = volatility > 0 and self.volatility > 0
        theirs = (volatility if known else 1.0) * arrival_price / daily_volume
        scale = theirs / ((self.volatility if known else 1.0) * self.arrival_price / self.daily_volume)
        return replace(
            self,
            arrival_price=arrival_price,
            volatility=volatility,
            daily_volume=daily_volume,
            temporary_impact=self.temporary_impact * scale,
            permanent_impact=self.permanent_impact * scale,
            transient_impact=self.transient_impact * scale,
        )

    def linearised(self, order: Order) -> "Market":
        """The same market with linear impact, which concedes as much at the order's average rate X / (N Δ).

        What rules that know linear impact alone take for this market: η (v̄ / reference)^(δ − 1) for η, with v̄ = X / N.
        It is neither above nor below the market: it concedes less at slower rates and more at faster ones where δ < 1.

        >>> round(Market(impact_exponent=0.6).linearised(Order()).temporary_impact / 1.6e-7, 3)
        1.104
        """
        if isinstance(self.impact_exponent, float) and self.impact_exponent == 1.0:
            return self
        slope = self.slope(order.slice_length) * (order.shares / order.n_steps) ** (self.impact_exponent - 1.0)
        linear: dict[str, Any] = {"impact_exponent": 1.0, "reference_participation": Market.reference_participation}
        return replace(self, temporary_impact=slope * order.slice_length, **linear)

    def slope(self, slice_length: float) -> Any:
        """(η/Δ) reference^(1 − δ): v shares in a slice concede slope · v^δ on average. [$/share per share^δ]"""
        reference = self.reference_participation * self.daily_volume * slice_length  # [shares]
        return self.temporary_impact / slice_length * reference ** (1.0 - self.impact_exponent)

    def stressed(self, now: Any, by: Factors) -> Any:
        """Slices whose liquidity L, volatility and impact are multiplied.

        Half spread by L^{−β}, volume by L, temporary impact by L^{−1}. Volatility has a factor of its own: it does not
        follow liquidity here, as it does from slice to slice where ``volatility_elasticity`` is not zero.

        Args:
            now: an ``exec_env.market.execution.Slice``, simulated or recorded.
            by: multipliers, of any shape that broadcasts with it.
        """
        liquidity, volatility, impact = by
        return now._replace(
            log_liquidity=now.log_liquidity + namespace(liquidity).log(liquidity),
            half_spread=now.half_spread * liquidity**-self.spread_elasticity,
            volume=now.volume * liquidity,
            variance=now.variance * volatility**2,
            temporary=now.temporary * (impact / liquidity),
            permanent=now.permanent * impact,
            price_shock=now.price_shock * volatility,
        )

    # One slice. Floats, arrays and tensors alike; z is a standard normal.

    def half_spread_at(self, log_liquidity: Any, z: Any) -> Any:
        """Half spread h S0 f_{−β}(ℓ) m(z). [$]"""
        level = self.half_spread * BPS * self.arrival_price
        return level * lognormal(
            -self.spread_elasticity, log_liquidity, self.liquidity_volatility, self.spread_noise, z
        )

    def volume_at(self, log_liquidity: Any, z: Any, slice_length: float, profile: Any = 1.0) -> Any:
        """Market volume V Δ profile f_1(ℓ) m(z) of a slice. [shares]"""
        level = self.daily_volume * slice_length * profile
        return level * lognormal(1.0, log_liquidity, self.liquidity_volatility, self.volume_noise, z)

    def temporary_at(self, log_liquidity: Any, z: Any, slice_length: float) -> Any:
        """Slope · f_{−1}(ℓ) m(z) of the price concession in a slice. [$/share per share^δ]"""
        level = self.slope(slice_length)
        return level * lognormal(-1.0, log_liquidity, self.liquidity_volatility, self.impact_noise, z)

    def variance_at(self, log_liquidity: Any, slice_length: Any) -> Any:
        """Variance (σ S0)² Δ f_{2c}(ℓ) of the price over a slice. [$²]"""
        level = (self.volatility * self.arrival_price) ** 2 * slice_length
        return level * lognormal(2 * self.volatility_elasticity, log_liquidity, self.liquidity_volatility)

    def decay_at(self, z: Any, slice_length: Any) -> Any:
        """Share exp(−ρ Δ m(z)) of the transient push that survives a slice."""
        exponent = -self.resilience * slice_length * lognormal(0.0, 0.0, 0.0, self.decay_noise, z)
        return namespace(exponent).exp(exponent)

    def next_liquidity(self, log_liquidity: Any, z: Any, jump: Any, slice_length: float) -> Any:
        """Exact Ornstein-Uhlenbeck step ℓ' = a ℓ + s √(1−a²) z − J, a = e^{−θΔ}."""
        exponent = -self.liquidity_reversion * slice_length
        a = namespace(exponent).exp(exponent)
        return a * log_liquidity + self.liquidity_volatility * namespace(a).sqrt(1 - a**2) * z - jump

    def jump_at(self, z: Any, slice_length: float) -> Any:
        """Liquidity shock J: ``shock_size`` with probability ``shock_rate`` Δ, else 0.

        Raises:
            InputError: when ``shock_rate`` Δ is not a probability.
        """
        # Added to zeros, because torch would make numbers of booleans in single precision.
        return self.shocks[1] * (0.0 * z + (z < NormalDist().inv_cdf(self.shock_probability(slice_length))))

    def shock_probability(self, slice_length: float) -> float:
        """Probability of a shock in a slice: its rate, that of the fields or of the stress, times Δ.

        Raises:
            InputError: when it is not below one.
        """
        rate = self.shocks[0]
        if rate * slice_length >= 1:
            own = self.own_stress.shock_rate > 0
            what = f"stress = {self.stress!r}: its shock rate of {rate:g}" if own else f"shock_rate = {rate!r}:"
            raise InputError(f"Market.{what} must be below {1 / slice_length:g}, one shock per slice")
        return rate * slice_length

    def next_signal(self, deviation: Any, z: Any, slice_length: float) -> Any:
        """Exact Ornstein-Uhlenbeck step of the random part of α. [1/day]"""
        b = math.exp(-self.signal_reversion * slice_length)
        return b * deviation + self.signal_volatility * math.sqrt(1 - b**2) * z

    def profile(self, order: Order) -> np.ndarray:
        """Mean volume of each slice of an order over that of the average slice of a session. Shape: (n_steps,).

        Raises:
            InputError: for volumes of a session's slices, where it is not known when in it the order's are.

        >>> Market(volume_profile="u-shaped").profile(Order(n_steps=4)).round(3).tolist()
        [1.387, 0.613, 0.613, 1.387]
        >>> Market(volume_profile="u-shaped").profile(Order(arrival=0.5, n_steps=2, slice_length=0.25)).tolist()
        [0.625, 1.375]
        """
        return profile_of(self.volume_profile, order)
