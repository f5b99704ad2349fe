"""How a recorded market is used, number by number, in lines for a person to read."""

from exec_env.data.features import labelled
from exec_env.data.tape import Tape
from exec_env.market.market import Market

_USES = {
    "time": "start of each slice; the slice length is the median step",
    "mid": "price path: its changes are the price shocks; our own impact comes on top",
    "spread": "half of it is paid on every share",
    "volume": "market volume of the slice; the cap on participation is a share of it",
    "depth": "liquidity: temporary impact is inversely proportional to it, with mean one",
}


def describe(tape: Tape, market: Market, base: Market | None = None, calibrated: bool = False) -> str:
    """How each number was used, in lines for a person to read.

    Args:
        tape: what is described.
        market: what is played.
        base: where impact is from.
        calibrated: whether ``base`` is a market file's, whose impact is taken as it is; if not, it was scaled.
    """
    lines = [f"{tape.name}: {len(tape.mid)} slices from {tape.time[0]} to {tape.time[-1]}"]
    for ours in _USES:
        source = tape.columns.get(ours, ours) if getattr(tape, ours) is not None else "(none)"
        use = _USES[ours] if source != "(none)" else "liquidity taken as constant"
        lines.append(f"  {ours:7} = {source}: {use}")
    for name, (mean, std) in tape.units.items():
        source = tape.columns.get(labelled(name), name)
        whose = "as given" if name in tape.given_units else "of the training rows" if tape.split else "of all rows"
        lines.append(f"  {labelled(name)} = {source}: seen by agents, in units of {std:.4g} from {mean:.4g}, {whose}")
    lines += [f"  {remark}" for remark in tape.remarks]
    if tape.split is not None:
        lines += [f"  {line}" for line in _periods(tape)]
    if tape.levels is not None:
        used = {"book": "walked by every trade; η is what schedules go by", "impact": "not used: fills = 'impact'"}[
            tape.fills
        ]
        lines.append(f"  {tape.levels.bid_price.shape[1]} levels of the book on each side: {used}")
    minutes = tape.slice_length * tape.hours_per_day * 60
    own = tape.market(base)
    price, volume = own.arrival_price, own.daily_volume
    asked = base if calibrated and base is not None else own.rescaled(price, market.volatility, volume)
    came = "from the market file" if calibrated else "scaled from the defaults by σ S0 / V"

    def how(name: str, text: str) -> str:
        """The number, and whether it was given rather than found."""
        given = getattr(market, name) != getattr(own if name == "volatility" else asked, name)
        return f"{text.format(getattr(market, name))}{' (as given)' if given else ''}"

    lines += [
        f"  slices of {minutes:g} min; a day of {tape.hours_per_day:g} hours; {int(tape.gaps.sum())} gaps",
        f"  from the tape: price {market.arrival_price:,.4g}, "
        f"{how('volatility', 'volatility {:.4g} per √day')}, "
        f"half spread {market.half_spread:.4g} bps, volume {market.daily_volume:,.6g} a day",
        f"  not in it, so {came}: {how('temporary_impact', 'η = {:.3g}')}, "
        f"{how('permanent_impact', 'γ = {:.3g}')}, {how('transient_impact', 'κ = {:.3g}')}; "
        f"ρ = {market.resilience:g}{'' if calibrated else ' as given'}",
    ]
    return "\n".join(lines)


def _periods(tape: Tape) -> list[str]:
    """Which rows are for what, counted from 1, and when they were."""
    assert tape.split is not None
    end, begin = tape.split.training, tape.split.rows("evaluation")[0]
    uses = {
        "training": (0, end, "training; all averages are of these"),
        "purge": (end, begin, "purge, which nobody plays"),
        "evaluation": (begin, len(tape.mid), "evaluation"),
    }
    return [
        f"rows {a + 1} to {b}, {tape.time[a]} to {tape.time[b - 1]}: {use}{'; played here' * (part == tape.part)}"
        for part, (a, b, use) in uses.items()
        if b > a
    ]
