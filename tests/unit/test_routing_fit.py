"""Fitting: the right minimum, deterministic, calibrated, and kept on disk whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing import known
from routing.build import fitted
from routing.calibration import Calibration, Signals
from routing.evaluate import auroc, predict, report, share, training_rows
from routing.examples import Examples, ExamplesError
from routing.fit import fit_head
from routing.head import Head
from routing.logistic import fit_logistic, minimise
from routing.store import head_key, load_head, save_head
from tests.fixtures.cache_world import TrigramEmbed

Array = np.ndarray[Any, Any]
DIM = 48


def clouds(intents: int, rows: int, *, spread: float = 0.6, seed: int = 0, of: int = 0) -> tuple[Array, list[str]]:
    """Unit vectors around `intents` random directions. `of` shifts which directions are used."""
    centres = np.random.default_rng(99).normal(size=(intents + of, DIM))[of:]
    rng = np.random.default_rng(seed)
    x = np.concatenate([c / np.linalg.norm(c) + spread * rng.normal(size=(rows, DIM)) / np.sqrt(DIM) for c in centres])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(np.float32), [f"i{k}" for k in range(intents) for _ in range(rows)]


NONE = np.zeros((0, DIM), np.float32)


def test_the_minimum_is_one() -> None:
    """At the weights found, the penalised loss cannot be lowered by any small step: its gradient is nearly zero."""
    x, labels = clouds(4, 30, spread=1.5)
    y = np.array([int(label[1:]) for label in labels])
    weights, biases = fit_logistic(x, y, 4, c=10.0)
    logits = x @ weights.T + biases
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    error = (p - np.eye(4)[y]) / len(y)
    start = np.linalg.norm((np.full_like(p, 0.25) - np.eye(4)[y]).T @ x / len(y))
    assert np.linalg.norm(error.T @ x + weights / (10.0 * len(y))) < 0.01 * start
    assert abs(biases.mean()) < 1e-6


def test_a_narrow_valley_is_followed() -> None:
    """L-BFGS finds the bottom of an ill-conditioned bowl."""
    scale = np.array([1.0, 10.0, 100.0, 1000.0])
    goal = np.array([1.0, -2.0, 3.0, -4.0])
    found = minimise(lambda t: (float(0.5 * scale @ (t - goal) ** 2), scale * (t - goal)), np.zeros(4))
    assert np.allclose(found, goal, atol=0.05)


def test_a_rare_intent_is_not_swallowed() -> None:
    """Classes weigh the same: an intent with ten examples beside one with two hundred is still found."""
    x, _ = clouds(2, 200, spread=1.2, seed=1)
    keep = np.r_[0:200, 200:210]
    y = np.r_[np.zeros(200, int), np.ones(10, int)]
    weights, biases = fit_logistic(x[keep], y, 2, c=30.0)
    right = (x[210:] @ weights.T + biases).argmax(1) == 1
    assert right.mean() > 0.85


def test_fitting_is_deterministic_and_ignores_order() -> None:
    """The same examples give the same head, in whatever order they are listed."""
    x, labels = clouds(3, 12)
    order = np.random.default_rng(3).permutation(len(labels))
    one = fit_head(x, labels, NONE, encoder="e")
    again = fit_head(x, labels, NONE, encoder="e")
    shuffled = fit_head(x[order], [labels[at] for at in order], NONE, encoder="e")
    assert one.calibration == again.calibration
    assert (one.layer.weights == again.layer.weights).all()
    fresh, _ = clouds(3, 20, seed=9)
    assert [one.read(v).best for v in fresh] == [shuffled.read(v).best for v in fresh]


@pytest.mark.parametrize(
    ("rows", "kind"), [(1, "centroid"), (2, "centroid"), (3, "logistic"), (8, "logistic"), (30, "logistic")]
)
def test_any_number_of_examples_makes_a_head(rows: int, kind: str) -> None:
    """Centroids for one or two examples, a logistic layer from three; both tell well-separated intents apart."""
    x, labels = clouds(5, rows)
    head = fit_head(x, labels, NONE, encoder="e")
    assert head.kind == kind
    fresh, truth = clouds(5, 20, seed=7)
    readings = [head.read(v) for v in fresh]
    assert np.mean([r.best == t for r, t in zip(readings, truth, strict=True)]) > 0.95
    assert all(0 <= r.confidence <= 1 and 0 <= r.margin <= 1 for r in readings)


def test_one_intent_alone_can_still_refuse() -> None:
    """A single intent has no second, so its margin is 1; what is unlike it is out of scope."""
    x, labels = clouds(1, 20)
    head = fit_head(x, labels, NONE, encoder="e")
    like, unlike = head.read(clouds(1, 1, seed=4)[0][0]), head.read(clouds(1, 1, of=3)[0][0])
    assert (like.best, like.second, like.margin) == ("i0", "i0", 1.0)
    assert like.confidence > 0.5 > unlike.confidence


@pytest.mark.parametrize("rows", [5, 10, 40])
def test_half_confidence_refuses_few_good_and_most_bad(rows: int) -> None:
    """At 0.5 a few per cent of unseen in-scope texts are refused, and most of what is about something else."""
    x, labels = clouds(8, rows, spread=0.9)
    head = fit_head(x, labels, NONE, encoder="e")
    inside, _ = clouds(8, 100, spread=0.9, seed=5)
    outside, _ = clouds(40, 10, spread=0.9, seed=6, of=8)
    refused = np.mean([head.read(v).confidence < 0.5 for v in inside])
    assert refused < 0.12
    assert np.mean([head.read(v).confidence < 0.5 for v in outside]) > 0.8


def test_examples_of_the_outside_help() -> None:
    """With examples of what is out of scope, the score separates better."""
    x, labels = clouds(6, 20, spread=1.4)
    away, _ = clouds(10, 20, spread=1.4, of=6)
    inside, _ = clouds(6, 60, spread=1.4, seed=5)
    outside, _ = clouds(10, 40, spread=1.4, seed=6, of=6)

    def area(head: Head) -> float:
        found = auroc([head.read(v).confidence for v in inside], [head.read(v).confidence for v in outside])
        assert found is not None
        return found[0]

    without, with_them = (area(fit_head(x, labels, known, encoder="e")) for known in (NONE, away))
    assert with_them > without


def test_a_margin_is_what_it_says() -> None:
    """Texts read with a small margin are right about half the time, the others far more often."""
    x, labels = clouds(6, 40, spread=2.2)
    head = fit_head(x, labels, NONE, encoder="e")
    fresh, truth = clouds(6, 400, spread=2.2, seed=8)
    readings = [head.read(v) for v in fresh]
    right = np.array([r.best == t for r, t in zip(readings, truth, strict=True)])
    close = np.array([r.margin < 0.2 for r in readings])
    assert close.any()
    assert right[close].mean() < 0.7
    assert right[~close].mean() > right[close].mean() + 0.15


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0, 1e6))
def test_confidence_and_margin_stay_between_0_and_1_and_rise(peak: float, near: float, gap: float) -> None:
    """Whatever the signals: bounded, and never lower for stronger signals."""
    calibration = Calibration((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), -2.0, 1.3, 0.7)
    weak, strong = Signals(0, 1, peak, near, 0.0, gap), Signals(0, 1, peak + 1, near, 0.0, gap + 1)
    assert 0 <= calibration.confidence(weak) <= calibration.confidence(strong) <= 1
    assert 0 <= calibration.margin(weak) <= calibration.margin(strong) <= 1


EXAMPLES = Examples(["a", "b"], ["x", "y"], [])


def test_a_head_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    """Loaded, it reads every text as the fitted one does; nothing else is left in the folder."""
    x, labels = clouds(3, 9)
    head = fit_head(x, labels, clouds(2, 4, of=3)[0], encoder="e")
    key = head_key(EXAMPLES, "e")
    save_head(tmp_path / "heads", key, head)
    loaded = load_head(tmp_path / "heads", key, "e")
    assert loaded is not None
    assert [loaded.read(v) for v in x] == [head.read(v) for v in x]
    assert len(list((tmp_path / "heads").iterdir())) == 1


def test_a_head_is_found_only_for_the_same_examples_and_encoder(tmp_path: Path) -> None:
    """One changed word, label, negative or encoder is another key."""
    keys = {
        head_key(EXAMPLES, "e"),
        head_key(EXAMPLES, "f"),
        head_key(Examples(["a", "c"], ["x", "y"], []), "e"),
        head_key(Examples(["a", "b"], ["y", "x"], []), "e"),
        head_key(Examples(["a", "b"], ["x", "y"], ["c"]), "e"),
    }
    assert len(keys) == 5
    x, labels = clouds(2, 3)
    save_head(tmp_path, "k", fit_head(x, labels, NONE, encoder="e"))
    assert load_head(tmp_path, "k", "another") is None
    assert load_head(tmp_path, "missing", "e") is None


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_damaged_head_is_fitted_anew(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file cut short or overwritten in places is not used, and never an exception."""
    folder = tmp_path_factory.mktemp("heads")
    x, labels = clouds(2, 3)
    save_head(folder, "k", fit_head(x, labels, NONE, encoder="e"))
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:cut])
    assert load_head(folder, "k", "e") is None
    at = data.draw(st.integers(0, len(whole) - 9))
    path.write_bytes(whole[:at] + b"\xff" * 8 + whole[at + 8 :])
    loaded = load_head(folder, "k", "e")
    assert loaded is None or loaded.intents == ("i0", "i1")


def test_a_share_has_wilsons_interval() -> None:
    """Against published values: 81 of 263 is 0.308 with 0.2553 to 0.3662 (Newcombe 1998)."""
    found = share(81, 263)
    assert found.low == pytest.approx(0.2553, abs=5e-5)
    assert found.high == pytest.approx(0.3662, abs=5e-5)
    assert share(0, 10).low == 0.0
    assert share(10, 10).high == 1.0
    assert share(0, 0).value is None


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_auroc_is_how_often_one_is_above_the_other(above: list[int], under: list[int]) -> None:
    """The area equals the count over all pairs, ties half, and lies in its interval."""
    pairs = [(a > u) + 0.5 * (a == u) for a in above for u in under]
    found = auroc(above, under)
    assert found is not None
    assert found[0] == pytest.approx(sum(pairs) / len(pairs))
    assert 0 <= found[1] <= found[0] <= found[2] <= 1


def test_a_report_counts_what_it_says() -> None:
    """Accuracy with and without refusing, recall and false refusals on rows whose outcome is known."""
    x, labels = clouds(3, 12)
    head = fit_head(x, labels, NONE, encoder="e")
    away, _ = clouds(1, 5, of=7)
    table = {f"t{at}": row for at, row in enumerate([*x[:6], *away])}

    def encode(texts: Any) -> Array:
        return np.stack([table[text] for text in texts])

    results = predict(head, encode, list(table))
    truth = ["i0"] * 5 + ["i1"] + ["oos"] * 5
    told = report(head, results, truth)
    assert (told.rows, told.intents, told.kind, told.encoder) == (11, 3, "logistic", "e")
    assert (told.accuracy.hits, told.accuracy.of) == (5, 6)
    assert told.oos_recall.of == 5
    refused = sum(result.intent == "oos" for result in results[:6])
    assert told.false_refusals.hits == refused
    assert told.accuracy_refusing.hits <= told.accuracy.hits
    assert told.auroc is not None
    assert set(told.latency_micros) == {"p50", "p95", "p99"}
    everything = predict(head, encode, list(table), below=0.0)
    assert not any(result.intent == "oos" for result in everything)


def test_rows_become_examples() -> None:
    """`oos` and `out_of_scope` rows are negatives; a row without text or intent is named."""
    rows = [
        {"text": "a", "intent": "x", "domain": "d"},
        {"text": "b", "intent": "oos"},
        {"text": "c", "intent": "out_of_scope"},
    ]
    assert training_rows(rows) == Examples(["a"], ["x"], ["b", "c"])
    with pytest.raises(ExamplesError, match="row 2"):
        training_rows([rows[0], {"text": "b"}])
    with pytest.raises(ExamplesError, match="in scope"):
        training_rows(rows[1:])


def test_the_nearest_example_counts_where_examples_say_so() -> None:
    """Intents that are each many small clumps are read by the nearest example; plain clouds by the layer alone."""
    x, clump = clouds(150, 8, spread=0.5)
    labels = [f"i{int(name[1:]) % 3}" for name in clump]
    head = fit_head(x, labels, NONE, encoder="e")
    assert head.layer.pull > 0
    fresh, clump = clouds(150, 4, spread=0.5, seed=1)
    truth = [f"i{int(name[1:]) % 3}" for name in clump]
    layer = msgspec.structs.replace(head.layer, pull=0.0)
    plain = msgspec.structs.replace(head, layer=layer)
    right = [sum(h.read(v).best == t for v, t in zip(fresh, truth, strict=True)) for h in (head, plain)]
    assert right[0] > right[1] + 20
    assert fit_head(*clouds(4, 20), NONE, encoder="e").layer.pull == 0


@pytest.mark.parametrize("rows", [5, 10])
def test_names_are_examples_where_they_help(rows: int) -> None:
    """Names near their intents' own texts are used and help; names that mislead are found out and left alone."""
    x, labels = clouds(12, rows, spread=2.6)
    fresh, truth = clouds(12, 100, spread=2.6, seed=8)
    centres, order = clouds(12, 1, spread=0.0)
    by_name = centres[[order.index(name) for name in sorted(set(labels))]]

    def right(head: Head) -> int:
        return sum(head.read(v).best == t for v, t in zip(fresh, truth, strict=True))

    plain = fit_head(x, labels, NONE, encoder="e")
    helped = fit_head(x, labels, NONE, encoder="e", names=by_name)
    misled = fit_head(x, labels, NONE, encoder="e", names=np.roll(by_name, 1, axis=0))
    assert len(helped.layer.names) == 12
    assert right(helped) > right(plain)
    assert len(misled.layer.names) == 0
    assert right(misled) == right(plain)


def test_workers_that_start_together_learn_once(tmp_path: Path) -> None:
    """The first learns, the others wait and take over what it made."""

    class Slow(TrigramEmbed):
        def encode(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
            return np.stack([self.one(text) for text in texts])

    texts = [f"{word} number {at}" for word in ("alpha", "beta", "gamma") for at in range(40)]
    examples = Examples(texts, [text.split()[0] for text in texts], [])
    told: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: fitted(examples, Slow(), tmp_path, told.append), range(4)))
    assert sum(line.startswith("learning") for line in told) == 1
    assert all((head.layer.weights == made[0].layer.weights).all() for head in made)


class Counting(TrigramEmbed):
    """Counts the texts that it embeds."""

    texts = 0

    def encode(self, texts: Sequence[str]) -> Array:
        self.texts += len(texts)
        return np.stack([self.one(text) for text in texts])


def test_a_changed_example_costs_one_text(tmp_path: Path) -> None:
    """The vectors of the others are known; the head is the one that all texts anew would have given; another encoder's are
    not taken for it, nor what is damaged."""
    texts = [f"{word} number {at}" for word in ("alpha", "beta", "gamma") for at in range(10)]
    labels = [text.split()[0] for text in texts]
    encoder = Counting()
    fitted(Examples(texts, labels, ["what else"]), encoder, tmp_path)
    first = encoder.texts
    changed = Examples([*texts[:-1], "gamma quite another"], labels, ["what else"])
    head = fitted(changed, encoder, tmp_path)
    assert encoder.texts == first + 1
    fresh = fitted(changed, Counting())
    assert (head.layer.weights == fresh.layer.weights).all()
    other = Counting(id="other")
    fitted(changed, other, tmp_path)
    assert other.texts > 30
    for file in tmp_path.glob("vectors-*"):
        file.write_bytes(file.read_bytes()[:-1])
    fitted(Examples(texts[:-2], labels[:-2], []), encoder, tmp_path)
    assert encoder.texts > first + 20


def test_kept_vectors_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the latest fitting stay."""
    monkeypatch.setattr(known, "MOST", 6)
    encoder = Counting()
    known.encoded(tmp_path, "e", ["a", "b", "c", "d"], encoder.encode)
    known.encoded(tmp_path, "e", ["e", "f", "g", "h"], encoder.encode)
    before = encoder.texts
    known.encoded(tmp_path, "e", ["e", "f", "g", "h", "d"], encoder.encode)
    assert encoder.texts == before
    known.encoded(tmp_path, "e", ["a"], encoder.encode)
    assert encoder.texts == before + 1
