"""The report: one page that loads nothing, says what the evaluation says, and survives any name."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exec_env.agents.dqn import DQNConfig
from exec_env.base.bootstrap import Z95
from exec_env.harness import Evaluation, TrainConfig, train
from exec_env.harness.reports import report as reporting
from exec_env.harness.reports.report import number, with_baselines, write_report
from tests.harness.conftest import SMALL

NASTY = '<script>alert("x")</script> & <b>$\\frac$'


class Named:
    """Sells evenly under a name of one's choice."""

    action_mode = "pace"

    def __init__(self, name: str) -> None:
        self.name = name

    def act(self, observations: np.ndarray) -> np.ndarray:
        return np.full(len(observations), 4)


class Page(HTMLParser):
    """Tags with their attributes, and the cells of the tables that have a name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] | None = None
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self._rows = self.tables.setdefault(dict(attrs).get("id") or "", [])
        if tag == "tr" and self._rows is not None:
            self._rows.append([])
        if tag in ("td", "th") and self._rows:
            self._rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")
        if tag == "table":
            self._rows = None

    def handle_data(self, data: str) -> None:
        if self._cell and self._rows:
            self._rows[-1][-1] += data

    def rows(self, table: str) -> dict[str, list[str]]:
        """Cells by their row's first one, heads left out."""
        return {row[0]: row[1:] for row in self.tables[table] if row and row[0] not in ("", "Agent")}


def small_run(folder: Path, **options: Any) -> Path:
    config = TrainConfig(steps=256, intervals=2, num_envs=16, check_episodes=4)
    train("dqn", folder, config, DQNConfig(hidden=(4,), warm_up=64, batch_size=16), **options)
    return folder


def numbers(cell: str) -> list[float]:
    return [float(text) for text in re.findall(r"[+-]?\d+(?:\.\d+)?", cell.replace("−", "-").replace(",", ""))]


def check_summary(rows: dict[str, list[str]], evaluation: Evaluation) -> None:
    """Every cell of the table is the evaluation's number, rounded."""
    assert list(rows) == list(evaluation.per_agent.index)
    for agent, row in evaluation.per_agent.iterrows():
        j, money, gap, closed, difference, wins, mean, std, tail, left = rows[str(agent)]
        notional = evaluation.problem.notional(100.0)  # the default market's price
        assert numbers(money.removesuffix(" $")) == pytest.approx([1e-4 * notional * row["objective_mean"]], abs=0.51)
        assert numbers(j) == pytest.approx([row["objective_mean"], Z95 * row["objective_se"]], abs=0.0051)
        assert numbers(gap) == pytest.approx([row["gap_percent"]], abs=0.051)
        assert numbers(closed) == pytest.approx([row["gap_closed_percent"]], abs=0.051)
        if agent == "twap":
            assert (difference, wins) == ("–", "–")
        else:
            found = numbers(re.sub(r"[\[\],]", " ", difference))
            assert found == pytest.approx([row["diff"], row["diff_low"], row["diff_high"]], abs=0.0051)
            assert numbers(wins) == pytest.approx([100 * row["win_rate"]], abs=0.051)
        assert numbers(mean) == pytest.approx([row["shortfall_mean"], Z95 * row["shortfall_se"]], abs=0.0051)
        assert numbers(std) == pytest.approx([row["shortfall_std"]], abs=0.051)
        assert numbers(tail) == pytest.approx([row["cvar95"]], abs=0.051)
        assert numbers(left) == pytest.approx([row["shares_left"]], abs=0.51)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run; not to be changed."""
    return small_run(tmp_path_factory.mktemp("runs") / "mine", **SMALL)


@pytest.fixture(scope="module")
def alone(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Path]:
    """The evaluation and the page of that run alone, in folders that had to be created."""
    page = tmp_path_factory.mktemp("pages") / "new" / "folder" / "r.html"
    return write_report([str(run)], page, episodes=50, **SMALL), page


# What it says


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_the_tables_say_what_the_evaluation_says_best_first(tmp_path: Path, small: dict) -> None:
    evaluation = write_report(
        ["pov", "twap", "adaptive"], tmp_path / "r.html", episodes=200, risk_aversion=1e-4, **small
    )
    page = Page((tmp_path / "r.html").read_text())
    check_summary(page.rows("summary"), evaluation)
    assert list(page.rows("summary")) == list(evaluation.per_agent.sort_values("objective_mean").index)
    parts = evaluation.per_path.groupby("agent", observed=True)[["spread", "temporary", "risk"]].mean()
    for agent, cells in page.rows("components").items():
        if agent in parts.index:
            shown = [numbers(cells[i])[0] for i in (0, 1, 6)]
            assert shown == pytest.approx(parts.loc[agent].tolist(), abs=0.0051)


@pytest.mark.slow
def test_a_run_alone_is_compared_with_twap_and_the_optimum(run: Path, alone: tuple[Evaluation, Path]) -> None:
    evaluation, page = alone
    assert evaluation.settings["agents"] == ["mine", "twap", "adaptive"]
    text = page.read_text()
    assert 'alt="Learning curves"' in text
    assert "Run mine" in text
    assert "warm_up: 64" in text
    assert with_baselines(["pov", str(run)], evaluation.problem) == ["pov", str(run)]
    assert with_baselines([run], evaluation.problem) == [run, "twap", "adaptive"]
    assert with_baselines([], evaluation.problem) == []


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_runs_on_different_problems_share_a_picture_of_learning(run: Path, tmp_path: Path, small: dict) -> None:
    there = small_run(tmp_path / "there", **(small | {"volatility": 0.03}))
    write_report([run, there], tmp_path / "r.html", episodes=20, **small)
    text = (tmp_path / "r.html").read_text()
    assert 'alt="Learning curves"' in text
    assert "there was trained on AlmgrenChriss-v0 with n_steps=5, shares=25000.0, volatility=0.03" in text


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_run_without_a_log_that_can_be_read_has_no_curve(run: Path, tmp_path: Path, small: dict) -> None:
    logs = {"lost": None, "empty": "", "spoilt": "nonsense\n1\n", "text": "steps,objective,twap\n1,two,3\n"}
    for name, log in logs.items():
        shutil.copytree(run, tmp_path / name)
        (tmp_path / name / "progress.csv").unlink()
        if log is not None:
            (tmp_path / name / "progress.csv").write_text(log)
    write_report([tmp_path / name for name in logs], tmp_path / "r.html", episodes=20, **small)
    text = (tmp_path / "r.html").read_text()
    for name in logs:
        assert f"{name} has no progress.csv that can be read" in text
    assert 'alt="Learning curves"' not in text


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_settings_that_were_changed_are_named(tmp_path: Path, small: dict) -> None:
    write_report(["twap"], tmp_path / "r.html", episodes=20, seed=7, volatility=0.03, side="buy", **small)
    text = (tmp_path / "r.html").read_text()
    assert "volatility = 0.03" in text
    assert "Buy 25,000 shares" in text
    assert "seed 7" in text
    assert re.search(r'class="changed"><td>volatility</td><td>0.03</td><td>0.02</td>', text)


@pytest.mark.slow
def test_a_recorded_market_has_no_bound_and_the_page_says_why(tmp_path: Path, tape_csv: Path) -> None:
    evaluation = write_report(
        ["twap", "pov"], tmp_path / "r.html", episodes=30, tape=tape_csv, shares=50_000.0, n_steps=10, starts="rolling"
    )
    text = (tmp_path / "r.html").read_text()
    assert "There is no lower bound: the paths are recorded." in text
    assert "episodes of a tape overlap" in text
    assert [row[2:4] for row in Page(text).rows("summary").values()] == [["–", "–"]] * 2
    assert evaluation.bound_bps is None


@pytest.mark.long
@pytest.mark.parametrize(
    ("env", "overrides"),
    [
        ("AlmgrenChrissClassic-v0", {"volatility": 0.0}),
        ("AlmgrenChrissLiquidityCollapse-v0", {}),
        ("AlmgrenChriss-v0", {"permanent_impact": 1e-4}),
    ],
)
def test_markets_without_noise_with_stress_and_without_an_optimum_have_a_page(
    env: str, overrides: dict, tmp_path: Path, small: dict
) -> None:
    agents = ["twap", "pov"] if "permanent_impact" in overrides else ["pov", "adaptive"]
    write_report(agents, tmp_path / "r.html", env, episodes=20, **(small | overrides))
    assert (tmp_path / "r.html").read_text().count("<figure>") == 6


@pytest.mark.slow
def test_a_single_path_has_a_page_without_a_warning(tmp_path: Path, small: dict) -> None:
    write_report(["twap", "pov"], tmp_path / "r.html", episodes=1, **small)
    assert "nan" not in re.sub(r'src="[^"]*"', "", (tmp_path / "r.html").read_text())


# Any name, any place


@pytest.mark.long
def test_names_are_text_and_never_html(tmp_path: Path, small: dict) -> None:
    write_report([Named(NASTY), Named(NASTY), "twap", "twap"], tmp_path / "r.html", episodes=20, **small)
    text = (tmp_path / "r.html").read_text()
    page = Page(text)
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert set(page.rows("summary")) == {NASTY.lower(), NASTY.lower() + "-2", "twap", "twap-2"}
    assert "&lt;script&gt;" in text


@pytest.mark.slow
def test_the_page_loads_nothing_from_anywhere(alone: tuple[Evaluation, Path]) -> None:
    text = alone[1].read_text()
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "url(" not in text
    for tag, attributes in Page(text).tags:
        assert tag not in ("script", "iframe", "object", "embed", "base")
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith(("#", "data:"))
    assert len(text) < 2_000_000


@pytest.mark.long
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, small: dict) -> None:
    for name in ("one", "two"):
        write_report(["twap", "pov"], tmp_path / f"{name}.html", episodes=20, seed=3, **small)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_a_file_that_exists_is_refused_before_the_work(
    tmp_path: Path, small: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "evaluate", lambda *_, **__: pytest.fail("evaluated before the file was checked"))
    (tmp_path / "old.html").write_text("old")
    with pytest.raises(ValueError, match=r"old\.html exists: choose another file, so that nothing is overwritten"):
        write_report(["twap"], tmp_path / "old.html", **small)
    with pytest.raises(ValueError, match=r"page\.html: cannot be created: .*old\.html is no folder"):
        write_report(["twap"], tmp_path / "old.html" / "page.html", **small)
    assert (tmp_path / "old.html").read_text() == "old"


@pytest.mark.slow
def test_folders_of_the_page_are_created(alone: tuple[Evaluation, Path]) -> None:
    assert [p.name for p in alone[1].parent.iterdir()] == ["r.html"]


def test_numbers_are_rounded_and_what_is_missing_is_a_dash() -> None:
    assert number(-0.04, 1) == "0.0"
    assert number(12345.678, 0) == "12,346"
    assert number(np.float64(-2), 1, "+") == "−2.0"
    assert number(float("nan")) == number(None) == "–"


# In a browser


@pytest.mark.long
def test_a_browser_without_a_network_shows_the_page(run: Path, tmp_path: Path, small: dict) -> None:
    browsers = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, browsers)), None)
    if executable is None:
        pytest.skip(f"no browser is installed: none of {', '.join(browsers)} is on the PATH")
    from playwright.sync_api import sync_playwright

    evaluation = write_report([run, Named(NASTY), "twap", "adaptive"], tmp_path / "r.html", episodes=100, **small)
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
        context.route(re.compile("^(?!file:|data:)"), lambda route: (said.append(route.request.url), route.abort()))
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("requestfailed", lambda request: said.append(request.url[:100]))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.goto((tmp_path / "r.html").as_uri())
        cells = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        rows = page.locator("#summary tbody tr").evaluate_all(cells)
        drawn = page.locator("figure img").evaluate_all("all => all.map(i => i.complete && i.naturalWidth > 100)")
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        widths = []
        for width in (1280, 900, 420):
            page.set_viewport_size({"width": width, "height": 900})
            widths.append(page.evaluate("document.documentElement.scrollWidth"))
        browser.close()
    assert said == []
    check_summary({row[0]: row[1:] for row in rows}, evaluation)
    assert drawn == [True] * 7
    assert widths == [1280, 900, 420]
    assert (tmp_path / "page.png").stat().st_size > 50_000
