"""The calibration's report: one page that loads nothing and says what the file says."""

import re
from pathlib import Path

import pytest

from exec_env.calibration import of, truth
from exec_env.calibration.report import render, write_report
from exec_env.market.market import Market

STRONG = Market(permanent_impact=3e-6, transient_impact=6e-6, temporary_impact=2e-6)


@pytest.mark.long
def test_the_page_shows_every_parameter_loads_nothing_and_overwrites_nothing(tmp_path: Path) -> None:
    calibration = of(truth.slices_of(STRONG, 20, 1))
    page = render(calibration)
    assert page == render(calibration)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    for name, p in calibration.file.parameters.items():
        assert f'<th scope="row">{name}</th>' in page
        assert p.source in page
    for part in ("distributions", "liquidity", "impact", "sensitivity"):
        assert f'<h2 id="{part}">' in page
    assert page.count("data:image/svg+xml") == 5
    write_report(calibration, tmp_path / "page.html")
    with pytest.raises(ValueError, match="exists: choose another file"):
        write_report(calibration, tmp_path / "page.html")


@pytest.mark.long
def test_a_power_law_is_that_of_the_market_and_said_to_be_linearised() -> None:
    page = render(of(truth.slices_of(STRONG, 5, 2), exponent=0.6))
    assert "the market's is 0.6." in page
    assert "Impact is linearised at the order" in page


@pytest.mark.slow
def test_without_flow_and_without_an_optimum_the_page_says_so() -> None:
    slices = truth.slices_of(STRONG, 5, 2)
    bare = type(slices)(slices.frame[["time", "mid", "spread", "volume"]], 1 / 78, 6.5, slices.sources)
    # Without temporary impact the linear-quadratic problem has no minimum, whatever part of costs is charged.
    page = render(of(bare, Market(temporary_impact=0.0)))
    assert "The data have no signed flow" in page
    assert "There is no linear-quadratic optimum" in page
