"""What is said of a tape, a market file and the runs that have seen them, beside a table."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from exec_env.data.market_file import MarketFile
from exec_env.data.tape import Tape


def looked_ahead(tape: Tape | None, file: MarketFile | None) -> list[str]:
    """A note where the market file is calibrated on the time of the rows that a split keeps for evaluation."""
    if tape is None or tape.split is None or file is None or file.period is None:
        return []
    begin, end = tape.split.rows("evaluation")
    first, last = (pd.to_datetime(tape.time[row], utc=True) for row in (begin, end - 1))
    if file.period[1] < first or file.period[0] > last:
        return []
    return [
        f"the market file is calibrated on data of {file.period[0]} to {file.period[1]}, so it has seen the time of "
        f"rows {begin + 1} to {end}, which are for evaluation; exec-env calibrate --split makes one of training rows "
        "alone"
    ]


def seen_by(tape: Tape | None, run: str, config: Mapping[str, Any]) -> list[str]:
    """A note where a run was trained on rows of the tape that it is evaluated on."""
    trained = config.get("tape")
    if tape is None or not isinstance(trained, dict) or trained.get("prices_sha256") != tape.prices_sha256:
        return []
    (begin, end), (first, after) = trained["rows"], tape.rows
    both = max(begin, first), min(end, after)
    if both[0] >= both[1]:
        return []
    return [
        f"{run} was trained on rows {begin + 1} to {end} of this tape, of which {both[0] + 1} to "
        f"{both[1]} are evaluated here: it has seen them, and may do worse on new ones"
    ]


def beyond_book(per_path: pd.DataFrame) -> list[str]:
    """How often trades went beyond the recorded book, where they walk it."""
    if "beyond_book" not in per_path:
        return []
    sums = per_path.groupby("agent", observed=True)[["trades", "beyond_book"]].sum()
    said = ", ".join(
        f"{agent} {100 * row['beyond_book'] / max(row['trades'], 1):.2g} %" for agent, row in sums.iterrows()
    )
    return [f"trades beyond the last recorded level, where the book goes on with its average slope: {said}"]
