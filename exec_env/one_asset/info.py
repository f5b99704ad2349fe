"""What a step tells beside observation and reward; the same for one environment and for many."""

from typing import Any

from exec_env.market.execution import Fill, State


def step_info(before: State, fill: Fill, arrival_price: Any, sign: float, to_bps: Any) -> dict[str, Any]:
    """Cost components in basis points of the arrival notional, and the trade in market prices.

    Keys: spread, temporary, transient, permanent, price, slippage, risk [bps]; shares and, of these, block, sold
    at once after the last slice [shares]; fill_price, the average price of the slice's shares (where none were
    traded, the price of a first one) and mid, at the start of the slice [$]; clipped.
    """
    return {
        "spread": to_bps * fill.spread,
        "temporary": to_bps * fill.temporary,
        "transient": to_bps * fill.transient,
        "permanent": to_bps * fill.permanent,
        "price": to_bps * fill.price,
        "slippage": to_bps * fill.slippage,
        "risk": to_bps * fill.risk,
        "shares": fill.shares,
        "block": fill.block,
        "fill_price": arrival_price + sign * fill.price_per_share,
        "mid": arrival_price + sign * before.price_move,
        "clipped": fill.clipped,
    }
