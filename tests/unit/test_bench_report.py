"""What a run reports: honest verdicts, markers that keep the text around them, well-formed plots."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import peers
from bench.measure import FULL, Cost, Latency, Memory, Results
from bench.plot import bars, line
from bench.report import BEGIN, END, About, markdown, plots, write
from bench.run import choose
from bench.stats import percentile, slope
from bench.subjects import SUBJECTS
from bench.targets import rows

ABOUT = About(
    command="./dev bench",
    date="today",
    machine="2 cores",
    versions=(("tidegate", "1"),),
    missing=(("portkey", "needs\nnode"),),
    titles=(("direct", "direct call"), ("tidegate", "Tidegate (on)"), ("litellm", "LiteLLM (bare)")),
    took=60,
)


def results() -> Results:
    out = Results()
    for name, plain, stream in (("tidegate", 0.5, 10.0), ("litellm", 10.0, 60.0)):
        out.costs[name, "plain"] = Cost(cpu_ms=[plain] * 3, rates=[1 / plain], answered=3)
        out.costs[name, "stream"] = Cost(cpu_ms=[stream] * 3, rates=[1 / stream], answered=3)
    out.latency["direct"] = Latency(p50=[0.3, 0.2, 0.4], p99=[1.0, 1.0, 1.0], lag=[0.1])
    out.latency["tidegate"] = Latency(p50=[1.3, 1.4, 1.2], p99=[6.0, 7.0, 6.5], lag=[0.1])
    points = [(n, 100 + n * 5 / 10_000) for n in range(0, 20_001, 500)]
    out.memory["tidegate"] = Memory(idle=120.0, after=130.0, points=points)
    return out


def test_each_target_is_judged_by_its_own_figure() -> None:
    """A ratio, a latency, an idle size and a slope each pass or fail by what was measured, and unknown is not a pass."""
    verdicts = {row.target: (row.measured, row.passed) for row in rows(results(), 20_000)}
    assert verdicts["CPU per request, of LiteLLM's"] == ("1/20.0", True)
    assert verdicts["CPU per request, of LiteLLM's (stretch)"] == ("1/20.0", False)
    assert verdicts["CPU per request, of a warm Portkey's"] == ("n/a", None)
    assert verdicts["CPU per 200-chunk stream, of LiteLLM's"] == ("1/6.0", False)
    assert verdicts["added p50 at steady 100 requests/s"] == ("1.00 ms", True)
    assert verdicts["added p99 at steady 100 requests/s"] == ("5.50 ms", False)
    assert verdicts["idle memory without the embedding model"] == ("120 MB", True)
    assert verdicts["idle memory with the embedding model"] == ("n/a", None)
    assert verdicts["memory slope over 20,000 requests, per 10,000"] == ("5.00 MB", False)


def test_nothing_measured_passes_nothing() -> None:
    """An empty run meets no target."""
    assert {row.passed for row in rows(Results(), 20_000)} == {None}


def test_problems_are_listed_plainly() -> None:
    """Missing subjects, errors, foreign load, cached answers and absent traces are all in the text."""
    run = results()
    run.costs["litellm", "plain"].errors = Counter({"status 500": 7})
    run.costs["litellm", "plain"].foreign = [0.2]
    run.not_upstream["tidegate"] = 3
    run.answered["tidegate"], run.traces["tidegate"] = 1000, 990
    text = markdown(run, FULL, ABOUT)
    assert "Not measured: portkey: needs node" in text
    assert "litellm, plain: 7× status 500" in text
    assert "other processes took 20% of the subject's core" in text
    assert "3 answers without an upstream call" in text
    assert "10 of 1,000 traces never reached the sink" in text


def test_writing_keeps_what_others_wrote(tmp_path: Path) -> None:
    """Only the text between the markers changes, however often a run writes."""
    path = tmp_path / "RESULTS.md"
    path.write_text(f"# Mine\n\n{BEGIN}\nold\n{END}\n\nA note of mine.\n")
    for text in ("first", "second"):
        write(tmp_path, text, {"cpu.svg": "<svg/>"})
    assert path.read_text() == f"# Mine\n\n{BEGIN}\nsecond\n{END}\n\nA note of mine.\n"
    assert (tmp_path / "plots" / "cpu.svg").read_text() == "<svg/>"


def test_writing_starts_a_file_and_refuses_one_without_markers(tmp_path: Path) -> None:
    """A missing file is begun; one whose markers are gone is never overwritten."""
    write(tmp_path, "text", {})
    path = tmp_path / "RESULTS.md"
    assert f"{BEGIN}\ntext\n{END}" in path.read_text()
    path.write_text("all mine")
    with pytest.raises(ValueError, match="markers"):
        write(tmp_path, "text", {})
    assert path.read_text() == "all mine"


def test_plots_are_well_formed() -> None:
    """Each drawing parses as XML, whatever a subject is called."""
    for drawing in plots(results(), ABOUT.titles).values():
        ElementTree.fromstring(drawing)
    ElementTree.fromstring(bars([("a < b & c", [("<x>", 0.0, True)])]))
    ElementTree.fromstring(line("t", [(0, 1.5), (10, 300)], x_name="x", y_name="y"))


@given(
    st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=1, max_size=50), st.floats(min_value=0, max_value=100)
)
def test_percentile_lies_between_the_values(values: list[float], q: float) -> None:
    """Any percentile is within the values, with the least and greatest at the ends."""
    assert min(values) <= percentile(values, q) <= max(values)
    assert percentile(values, 0) == min(values)
    assert percentile(values, 100) == max(values)


@given(
    st.lists(st.integers(min_value=0, max_value=10_000), min_size=2, max_size=30, unique=True),
    st.integers(min_value=-50, max_value=50),
    st.integers(min_value=-1000, max_value=1000),
)
def test_slope_of_a_straight_line_is_its_slope(xs: list[int], rise: int, start: int) -> None:
    """Least squares finds the line the points lie on."""
    assert slope(xs, [start + rise * x for x in xs]) == pytest.approx(rise, abs=1e-6)


def test_litellm_of_another_series_is_never_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Release 1.107.0 is compromised: an environment that holds it is thrown away, and only 1.106 is asked for."""
    (tmp_path / "litellm/lib/python3.11/site-packages/litellm-1.107.0.dist-info").mkdir(parents=True)
    asked: list[list[str]] = []
    monkeypatch.setattr(peers, "_run", lambda argv, cwd: asked.append(argv) or "")
    with pytest.raises(peers.Unavailable, match="missing"):
        peers.litellm(tmp_path)
    assert asked[-1][-1] == "litellm[proxy]==1.106.*"
    assert not (tmp_path / "litellm").exists()


def test_only_names_known_subjects() -> None:
    """`--only` takes names from the table; an unknown one is answered with those there are."""
    assert [subject.name for subject in choose("nginx, litellm")] == ["nginx", "litellm"]
    assert "mlflow" not in [subject.name for subject in choose("")]
    with pytest.raises(SystemExit, match="no subject named nginks; there are tidegate"):
        choose("nginks")
    assert len({subject.name for subject in SUBJECTS}) == len(SUBJECTS)
