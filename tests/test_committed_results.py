"""Committed results are those of the committed configuration, and the README quotes them."""

import re
from pathlib import Path

import pandas as pd
import pytest

from exec_env.harness.studies.results import mismatches

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"


@pytest.mark.slow
def test_committed_results_match_their_configuration() -> None:
    assert mismatches(RESULTS) == []


def test_every_number_in_the_readmes_table_of_agents_is_that_of_the_results() -> None:
    summary, baselines = pd.read_csv(RESULTS / "summary.csv"), pd.read_csv(RESULTS / "baselines.csv")
    table = (ROOT / "README.md").read_text().split("## Agents and baselines")[1].split("## Command lines")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) >= 9
    for names, *_, objective, gap in rows:
        env = "AlmgrenChrissContinuous-v0" if "continuous" in names else "AlmgrenChriss-v0"
        name = re.findall(r"`([\w-]+)`", names)[0]
        learned = summary[(summary["env"] == env) & (summary["agent"] == name)]
        if learned.empty:
            row = baselines[(baselines["env"] == env) & (baselines["agent"] == name)].iloc[0]
            wanted = f"{row.gap_percent:+.1f} %"
        else:
            row = learned.iloc[0]
            wanted = f"{row.gap_percent_iqm:+.1f} % [{row.gap_percent_low:.1f}, {row.gap_percent_high:.1f}]"
        assert (objective, gap) == (f"{row.objective_mean:.2f}", wanted), names


def test_the_table_of_the_recorded_market_is_that_of_its_results() -> None:
    summary = pd.read_csv(RESULTS / "recorded" / "summary.csv")
    summary["agent"] = summary["agent"].str.replace(r"-(5|20)-\d$", "", regex=True)
    means = summary.groupby(["agent", "case"])["objective_mean [bps]"].mean()
    text = (RESULTS / "README.md").read_text().split("## A recorded market")[1]
    head, *rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == summary["agent"].nunique()
    for agent, *shown in rows:
        for case, number in zip(head[1:], shown, strict=True):
            assert float(number) == pytest.approx(means[agent.strip("`"), case.replace(", ", "-")], abs=6e-4)
