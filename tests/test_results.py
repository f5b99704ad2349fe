"""Committed results are those of the committed configuration."""

from pathlib import Path

from exec_env.harness.results import mismatches


def test_committed_results_match_their_configuration() -> None:
    assert mismatches(Path(__file__).parents[1] / "results") == []
