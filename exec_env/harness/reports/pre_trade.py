"""The page of a pre-trade estimate, and its table for a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from exec_env.base.units import amount, dollars, money
from exec_env.harness.pre_trade import BEST, URGENCIES, Planned, PreTrade
from exec_env.harness.reports import schedule_plots
from exec_env.harness.reports.report import PAGE_STYLE, number, picture, templates
from exec_env.one_asset.problem import OneAsset


@dataclass(frozen=True)
class Page:
    """A pre-trade estimate for a reader."""

    found: PreTrade
    problem: OneAsset
    """With the longest horizon."""
    assumed: list[str]
    """A line for each assumption."""

    def span(self, plan: Planned) -> str:
        """Its horizon in words."""
        return self.problem.clock.span(plan.order.horizon)

    def table(self, plans: Sequence[Planned], first: str) -> pd.DataFrame:
        """Schedules as text, ``first`` telling them apart: "horizon", or "λ [1/$]"."""
        unit = self.found.dollars_per_bps
        rows = []
        for plan in plans:
            named = self.span(plan) if first == "horizon" else f"{plan.order.risk_aversion:.3g}"
            over = "" if plan.feasible else " (over the cap)"
            row = {first: named, "schedule": plan.schedule}
            for name, value in (
                ("cost", plan.expected),
                ("std", plan.std),
                ("CVaR 95", plan.cvar),
                ("J", plan.objective),
            ):
                row |= {f"{name} [bps]": number(value / unit).replace("−", "-"), f"{name} [$]": money(value)}
            row["% of volume"] = f"{100 * plan.participation:.3g}"
            row["at most"] = f"{100 * plan.peak:.3g}{over}"
            row["99 % done"] = self.problem.clock.span(plan.done)
            rows.append(row)
        return pd.DataFrame(rows)

    def findings(self) -> list[str]:
        """What the tables say, in sentences."""
        unit, found = self.found.dollars_per_bps, self.found
        ours, least = found.chosen, found.quickest
        longest = self.span(ours)
        lines = []
        if least is None:
            lines.append(f"within {longest} an even pace is over the cap")
        else:
            where = (
                "the longest horizon" if least.order.n_steps == found.order.n_steps else "longer and shorter cost more"
            )
            lines.append(
                f"at an even pace J is least over {self.span(least)} ({where}): {number(least.objective / unit)} bps, "
                f"{dollars(least.objective)}; cost {number(least.expected / unit)} bps, {dollars(least.expected)}"
            )
        lines.append(
            f"the best schedule over {longest} has J {number(ours.objective / unit)} bps, {dollars(ours.objective)}; "
            f"99 % of it is done after {self.problem.clock.span(ours.done)}; to have more time never costs more"
        )
        return lines

    def text(self) -> str:
        """For a terminal."""
        found = self.found
        longest = self.span(found.chosen)
        parts = [
            self.problem.describe(),
            f"\nby horizon, at your λ = {found.order.risk_aversion:g} per dollar:",
            self.table(found.by_horizon, "horizon").to_string(index=False),
            f"\nby urgency, over {longest}:",
            self.table(found.by_urgency, "λ [1/$]").to_string(index=False),
            "",
            *self.findings(),
            "\nassumed:",
            *(f"- {line}" for line in self.assumed),
        ]
        return "\n".join(parts)

    def places(self) -> tuple[list[schedule_plots.Place], dict[str, schedule_plots.Place]]:
        """The frontier with its risk aversions, and the trader's points."""
        unit, found = self.found.dollars_per_bps, self.found

        def at(plan: Planned, label: str = "") -> schedule_plots.Place:
            return schedule_plots.Place(plan.std / unit, plan.expected / unit, label)

        each = max((len(found.frontier) - 1) // 4, 1)  # a decade
        points = [
            at(plan, f"λ = {plan.order.risk_aversion:.2g}" if i % each == 0 else "")
            for i, plan in enumerate(found.frontier)
        ]
        marked = {f"your λ = {found.order.risk_aversion:g}, over {self.span(found.chosen)}": at(found.chosen)}
        if found.quickest is not None:
            marked[f"even pace over {self.span(found.quickest)}"] = at(found.quickest)
        return points, marked

    def frontier(self) -> Figure:
        """Expected cost against risk."""
        points, marked = self.places()
        return schedule_plots.frontier(points, marked, self.found.dollars_per_bps, "Efficient frontier")

    def holdings(self) -> Figure:
        """Shares left, for each urgency."""
        clock, order = self.problem.clock, self.found.order
        held = {"even pace": order.shares * np.linspace(1.0, 0.0, order.n_steps + 1)}
        for plan in self.found.by_urgency:
            left = order.shares - np.r_[0.0, np.cumsum(plan.trades)]
            held[f"λ = {plan.order.risk_aversion:.3g}"] = np.maximum(left, 0.0)
        return schedule_plots.holdings(held, "even pace", clock.labels(order), clock.unit, "Schedules")

    def render(self) -> str:
        """One HTML page that loads nothing from anywhere."""
        page = templates(amount=amount, dollars=dollars, number=number)
        with mpl.rc_context(PAGE_STYLE):
            pictures = {"frontier": picture(self.frontier()), "holdings": picture(self.holdings())}
        found = self.found
        return page.get_template("pre_trade.html").render(
            found=found,
            unit=found.dollars_per_bps,
            headline=self.problem.headline(),
            market=found.market,
            order=found.order,
            longest=self.span(found.chosen),
            quickest=None if found.quickest is None else self.span(found.quickest),
            horizons=self.table(found.by_horizon, "horizon"),
            urgencies=self.table(found.by_urgency, "λ [1/$]"),
            n_urgencies=len(URGENCIES),
            best=BEST,
            findings=self.findings(),
            assumed=[*self.assumed, *self.problem.remarks()],
            pictures=pictures,
        )
