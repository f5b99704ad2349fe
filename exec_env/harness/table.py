"""What an evaluation found: tables, what has to be said of them, and files."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from exec_env.base.bootstrap import FEW_BLOCKS, Blocks, Errors
from exec_env.base.csv_files import headed, write_csv
from exec_env.base.files import new_folder, write_yaml
from exec_env.base.units import dollars
from exec_env.envs.problem import Problem
from exec_env.envs.profile import Profile
from exec_env.harness.estimates import NONE, PREFIX, Estimate, estimates, plain
from exec_env.harness.metrics import summarise

CLIPPED = "adaptive"
"""The rule without constraints, clipped to them."""
_IN_BPS = (
    *("objective_mean", "objective_se", "objective_raw_mean", "objective_raw_se", "shortfall_mean", "shortfall_se"),
    *(
        "shortfall_std",
        "cvar95",
        "mean_variance",
        "diff",
        "diff_low",
        "diff_high",
        "behind",
        "behind_low",
        "behind_high",
    ),
)
_UNITS = {
    **dict.fromkeys(_IN_BPS, "bps"),
    **dict.fromkeys(("gap_percent", "gap_best_percent", "gap_closed_percent"), "%"),
    **dict.fromkeys(("inventory", "shares", "shares_left"), "shares"),
    **dict.fromkeys(("mid", "fill_price", "half_spread", "block_cost"), "$"),
    "participation": "part of the volume",
    "win_rate": "part of the paths",
}
"""Of columns of the tables; costs of each path are in basis points."""
_LOOSE = 0.05  # a bound that the best achievable value is more than this part of it above says little


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What every agent did on the same paths."""

    per_path: pd.DataFrame
    """One row per agent and path: agent, path; shortfall, its components, risk and objective [bps]; shares_left for
    the closing block [shares]; participation, traded over market volume until done; block_cost, what the closing block
    costs where the cap left shares for it [$]. On a tape also row, at which the path begins, counted from 0; where
    fills walk its book also trades and beyond_book, slices with a trade and those of them that went beyond the last
    level. Where the problem has control variates, these too [bps]; NaN where one did not pay and was left out."""
    examples: pd.DataFrame
    """The first few paths slice by slice: agent, path, step; inventory before, shares, participation, mid, fill_price,
    half_spread, log_liquidity."""
    problem: Problem
    bound_bps: float | None
    """Lower bound on J of any policy [bps]; None where there is none."""
    on_bound: str = ""
    """Why there is none, or what it leaves out of the costs."""
    notes: tuple[str, ...] = ()
    """What a reader of the table should know: agents that were trained on something else."""
    optimum: Any = None
    """The best achievable value, with ``value_bps`` and ``error_bps``, where it was asked for and can be computed."""
    interval: Any = None
    """The statistical interval for it, where one was asked for and there is one; see ``exec_env.optimum.dual``."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What was evaluated: environment, episodes, seed, options."""

    @cached_property
    def errors(self) -> Errors:
        """Where standard errors come from: of a tape, whose episodes overlap, from blocks of time."""
        rows = None
        if "row" in self.per_path:
            rows = self.per_path.loc[self.per_path["agent"] == self.per_path["agent"].iloc[0], "row"].to_numpy()
        return self.problem.errors(rows)

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """J of each agent, from control variates where there are any."""
        return estimates(self.per_path, self.errors)

    @cached_property
    def per_agent(self) -> pd.DataFrame:
        """One row per agent; see ``exec_env.harness.metrics.summarise`` for the columns."""
        best = self.optimum.value_bps if self.optimum else None
        problem = self.problem
        found = self.estimates
        return summarise(
            self.per_path, self.bound_bps, self.errors, problem.reference, best, problem.price_of_variance, found
        )

    def profile(self, profile: Profile) -> pd.DataFrame:
        """Means of a profile's columns, with ``se``, ``low`` and ``high`` of each; a row for each agent and column."""
        rows = []
        for agent in self.per_agent.index:
            own = self.per_path[self.per_path["agent"] == agent]
            for number, column in enumerate(profile.columns, 1):
                found = plain(own[column].to_numpy(), self.errors)
                row = {"agent": agent, profile.across: number, "mean": found.mean, "se": found.se}
                rows.append(row | dict(zip(("low", "high"), found.interval, strict=True)))
        return pd.DataFrame(rows)

    def _profiles(self) -> list[str]:
        """Profiles as text."""
        lines = []
        for profile in self.problem.profiles:
            table = self.profile(profile)
            cells = table["mean"].map("{:.3g}".format) + table["se"].map(" ± {:.1g}".format)
            shown = table.assign(cell=cells).pivot(index="agent", columns=profile.across, values="cell")
            shown = shown.loc[self.per_agent.index].rename_axis(index=None)
            lines += [f"{profile.label}, by {profile.across}:", shown.to_string()]
        return lines

    @property
    def bound_is_loose(self) -> bool:
        """Whether a gap to the bound says little of an agent: it is not positive, or far below the best achievable."""
        if self.bound_bps is None:
            return False
        return says_little(self.bound_bps, self.optimum.value_bps if self.optimum else None)

    @property
    def remarks(self) -> list[str]:
        """Sentences that belong to the table, ``notes`` among them."""
        lines, reference = [*self.on_errors, *self.problem.remarks_on(self.per_path)], self.problem.reference
        if self.bound_bps is not None and self.on_bound:
            lines.append(self.on_bound)
        if self.bound_is_loose:
            lines.append(
                "the bound says little here: "
                + ("gaps are to the best achievable" if self.optimum else "it is not even positive")
            )
        lines += self.on_trust
        table = self.per_agent
        if CLIPPED in table.index and table["diff_low"][CLIPPED] > 0:
            d = table.loc[CLIPPED]
            lines.append(
                f"{CLIPPED} costs {d['diff']:.3g} [{d.diff_low:.3g}, {d.diff_high:.3g}] more than {reference}: it is "
                "the best rule without constraints, and clipping it to them hurts here; optimal reckons with them"
            )
        if reference not in self.settings["agents"]:
            lines.append(f"{reference} was not among the agents, so nothing is compared with it")
        return [*lines, *self.notes]

    @property
    def on_errors(self) -> list[str]:
        """Where errors and intervals are from, if not from independent paths, and whether there is enough of it."""
        blocks = self.errors
        if not isinstance(blocks, Blocks):
            return []
        lines = [
            "episodes of a tape overlap, so that errors and intervals are from a bootstrap of blocks of "
            f"{blocks.length} starts in a row, of which there are {blocks.n_blocks}"
        ]
        if blocks.n_blocks < 2:
            lines.append("with so few there are none: take a longer tape or fewer slices")
        elif blocks.n_blocks < FEW_BLOCKS:
            lines.append(f"with only {blocks.n_blocks} blocks intervals are too narrow to trust")
        return lines

    @property
    def on_trust(self) -> list[str]:
        """Which intervals are not to be trusted."""
        t, lines = self.per_agent, []
        for what, column in (("J", "trusted"), (f"J - {self.problem.reference.upper()}", "diff_trusted")):
            doubted = [str(agent) for agent in t.index[(t[column] == 0.0).to_numpy()]]
            if doubted:
                lines.append(
                    f"the interval of {what} of {', '.join(doubted)} is not to be trusted: few of these paths carry "
                    "most of what it varies by"
                )
        return lines

    def __repr__(self) -> str:
        """One line; ``table()`` says more."""
        said = f"{len(self.per_agent)} agents on {self.settings['episodes']:,} paths of {self.settings['env']}"
        best = self.per_agent.iloc[0]
        return f"<Evaluation of {said}; best: {best.name}, J = {best['objective_mean']:.3f} bps>"

    def _repr_html_(self) -> str:
        """The table, as notebooks show it."""
        lines = "".join(f"<li>{escape(line)}</li>" for line in self._lines())
        return f"{self._shown().to_html()}<ul>{lines}</ul>"

    def table(self) -> str:
        """The main columns as text, for a terminal."""
        return "\n".join([self._shown().to_string(), *self._profiles(), *self._lines()])

    def _shown(self) -> pd.DataFrame:
        """The main columns as text."""
        t, other = self.per_agent, self.problem.reference.upper()
        money = self.problem.dollars_per_bps or float("nan")
        columns = {
            "J": t["objective_mean"].map("{:.3f}".format) + t["objective_se"].map(" ± {:.3f}".format),
            "J [$]": (t["objective_mean"] * money).map(dollars),
            "variate": t["variate"],
            "gap %": t["gap_percent"].map("{:+.2f}".format),
            "to best %": t["gap_best_percent"].map("{:+.2f}".format),
            f"of {other}'s gap closed %": t["gap_closed_percent"].map("{:.1f}".format),
            f"J - {other} [95 %]": [
                f"{d:+.3f} [{a:+.3f}, {b:+.3f}]" for d, a, b in zip(t["diff"], t.diff_low, t.diff_high, strict=True)
            ],
            "shortfall": t["shortfall_mean"].map("{:.2f}".format) + t["shortfall_se"].map(" ± {:.2f}".format),
            "shortfall [$]": (t["shortfall_mean"] * money).map(dollars),
            "std": t["shortfall_std"].map("{:.1f}".format),
            "CVaR 95": t["cvar95"].map("{:.1f}".format),
            "E + λ Var": t["mean_variance"].map("{:.2f}".format),
            "wins %": (100 * t["win_rate"]).map("{:.1f}".format),
            "left": t["shares_left"].map("{:,.6g}".format),
        }
        left_out = [] if self.optimum else ["to best %"]
        left_out += ["J [$]", "shortfall [$]"] if self.problem.dollars_per_bps is None else []
        left_out += ["gap %", f"of {other}'s gap closed %"] if self.bound_is_loose and self.optimum else []
        left_out += ["variate"] if (t["variate"] == NONE).all() else []
        shown = pd.DataFrame({k: v for k, v in columns.items() if k not in left_out}, index=t.index)
        return shown.map(lambda cell: "-" if "nan" in cell and "±" not in cell else cell.replace("± nan", ""))

    def _lines(self) -> list[str]:
        """What has to be said of the table."""
        bound = f"no bound: {self.on_bound}" if self.bound_bps is None else f"lower bound {self.bound_bps:.3f}"
        lines = [
            self.problem.describe(),
            f"bps of the arrival notional; ± is one standard error; {bound}",
            "J: expected shortfall, without price moves of mean zero, + charge for risk; gap: J above the lower bound",
            f"shortfall, std, CVaR 95: realised; wins: paths with less of it than {self.problem.reference.upper()}'s; "
            "left: shares for the closing block, mean",
            "E + λ Var: of the realised shortfall; for policies that look at the price J is not that (Lorenz & Almgren "
            "2011), so that a lower one need not be the better policy for J",
        ]
        if (self.per_agent["variate"] != NONE).any():
            lines.append("variate: what of mean zero was taken off each path's cost, so that ± of J is smaller")
        if best := self.optimum:
            lines.append(f"best achievable {best.value_bps:.3f}, numerical error {best.error_bps:.1g} ({best.method})")
            if self.bound_bps and self.bound_bps > 0:
                lines[-1] += f", {100 * (best.value_bps / self.bound_bps - 1):+.2f} % above the bound"
        lines += [self.interval.describe()] if self.interval else []
        return lines + self.remarks

    def save(self, folder: str | Path, plots: bool = True) -> Path:
        """Write tables, settings and pictures to a new folder.

        Raises:
            InputError: when the folder exists.
        """
        folder = new_folder(folder)
        best = {"best_bps": self.optimum.value_bps, "best_error_bps": self.optimum.error_bps} if self.optimum else {}
        best |= {"interval": asdict(self.interval)} if self.interval is not None else {}
        write_yaml(folder / "evaluation.yaml", self.settings | {"bound_bps": self.bound_bps} | best)
        variates = [name for name in self.per_path if str(name).startswith(PREFIX)]
        costs = dict.fromkeys(("shortfall", *self.problem.components, "risk", "objective", *map(str, variates)), "bps")
        write_csv(headed(self.per_agent, _UNITS), folder / "per_agent.csv", index=True)
        write_csv(headed(self.per_path, _UNITS | costs), folder / "per_path.csv", float_format="%.8g")
        write_csv(headed(self.examples, _UNITS), folder / "examples.csv", float_format="%.8g")
        for profile in self.problem.profiles:
            write_csv(self.profile(profile), folder / f"{profile.name}.csv", float_format="%.8g")
        if plots:
            from exec_env.harness.reports.plots import save_evaluation

            save_evaluation(self, folder)
        return folder


def says_little(bound_bps: float, best_bps: float | None) -> bool:
    """Whether a bound is not positive, or far below the best achievable value, where that is known."""
    return bound_bps <= 0 or (best_bps is not None and best_bps > (1 + _LOOSE) * bound_bps)
