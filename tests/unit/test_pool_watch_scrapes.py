"""What is read of each engine's metrics: recorded pages of each version, by the names of the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.pools.adapters import serves, suits
from gateway.pools.reading import STALE_AFTER, Reading
from gateway.providers import catalog
from gateway.providers.engine import Page, sources_of
from gateway.providers.scrape import MOST_SAMPLES, Unreadable, samples
from gateway.providers.scrape_reading import MOST_NAMES, PageReader

PAGES = Path(__file__).parents[1] / "fixtures/scrapes"


def read(kind: str, page: str, *, path: str | None = None) -> tuple[dict[str, Any], frozenset[str]]:
    """A recorded page, by the first page of the catalog's entry, or by the one of that path."""
    pages = catalog.profile(kind).engine.pages
    told = PageReader(next(p for p in pages if path in (None, p.path))).read((PAGES / page).read_bytes())
    return dict(told.fields), told.missing


@pytest.mark.parametrize(
    ("kind", "page", "fields"),
    [
        (
            "vllm",
            "vllm-0.6.txt",
            {"waiting": 3, "running": 8, "kv": 0.25, "block_tokens": 16, "blocks": 11560, "prompt_tokens": 61230, "started": 1.72886500213e9},
        ),
        (
            "vllm",
            "vllm-0.11.txt",
            {"waiting": 4, "running": 7, "kv": 0.5, "block_tokens": 16, "blocks": 55622, "prompt_tokens": 1500, "cached_tokens": 900, "started": 1.76012345e9},
        ),
        (
            "vllm",
            "vllm-0.11-lora.txt",
            {"waiting": 1, "running": 2, "kv": 0.5, "block_tokens": 16, "prompt_tokens": 10, "adapters": {"sql", "tone"}, "loading": {"legal"}, "most_adapters": 2},
        ),
        (
            "sglang",
            "sglang-0.5.txt",
            {"waiting": 28, "running": 162, "kv": 0.28, "block_tokens": 64, "blocks": 11147, "prompt_tokens": 8128902, "cached_tokens": 2.5e6},
        ),
        ("sglang", "sglang-0.5.11.txt", {"waiting": 0, "running": 3, "kv": 0.5, "block_tokens": 64, "blocks": 8000}),
        ("sglang", "sglang-idle.txt", {}),
        ("tgi", "tgi-3.txt", {"waiting": 7, "running": 4, "prompt_tokens": 9216}),
        ("trtllm", "trtllm-1.txt", {"waiting": 2, "running": 6, "kv": 0.62, "block_tokens": 32, "blocks": 4096}),
        ("triton", "triton-25.txt", {"waiting": 1, "running": 5, "kv": 0.0625, "block_tokens": 64, "blocks": 6239}),
        ("llama-cpp", "llama-cpp-2025.txt", {"waiting": 1, "running": 2, "kv": 0.125, "prompt_tokens": 1200}),
        ("llama-cpp", "llama-cpp-2026.txt", {"waiting": 0, "running": 0, "prompt_tokens": 177, "cached_tokens": 116}),
        ("ollama", "ollama-0.13.json", {"adapters": {"qwen3:8b"}}),
    ],
)  # fmt: skip
def test_each_engines_page_is_read(kind: str, page: str, fields: dict[str, Any]) -> None:
    """Every field that an engine's version tells is in the reading, nothing else is, and nothing is missed."""
    found, missing = read(kind, page)
    assert found == fields
    assert not missing


def test_json_pages_are_read() -> None:
    """llama.cpp's slots and properties, and the list of models with vLLM's adapters in it."""
    assert read("llama-cpp", "llama-cpp-props.json", path="/props")[0] == {"slots": 4}
    assert read("llama-cpp", "llama-cpp-slots.json", path="/slots")[0] == {"running": 2}
    assert read("vllm", "vllm-models.json", path="/v1/models")[0] == {"models": {"qwen3-8b", "sql"}}


@pytest.mark.parametrize(
    ("kind", "page", "old", "name"),
    [
        ("vllm", "vllm-0.11.txt", "vllm:kv_cache_usage_perc", "vllm:kv_cache_usage_perc"),
        ("vllm", "vllm-0.6.txt", "vllm:num_requests_waiting", "vllm:num_requests_waiting"),
        ("vllm", "vllm-0.6.txt", "vllm:", "vllm:num_requests_waiting"),
        ("sglang", "sglang-0.5.txt", "sglang:num_queue_reqs", "sglang:num_queue_reqs"),
        ("tgi", "tgi-3.txt", "tgi_queue_size", "tgi_queue_size"),
        ("triton", "triton-25.txt", "waiting", "nv_trt_llm_request_metrics{request_type=waiting}"),
        ("llama-cpp", "llama-cpp-2026.txt", "llamacpp:requests_deferred", "llamacpp:requests_deferred"),
    ],
)
def test_a_renamed_metric_is_missed(kind: str, page: str, old: str, name: str) -> None:
    """A version that calls it something else raises the alarm, and the other fields are read as before."""
    reader = PageReader(catalog.profile(kind).engine.pages[0])
    told = reader.read((PAGES / page).read_text().replace(old, f"new_{old}").encode())
    assert name in told.missing
    assert told.missing <= reader.expected


def test_an_operators_name_mends_a_rename() -> None:
    """A name given in the configuration is looked for first, and then nothing is missing."""
    page = catalog.profile("vllm").engine.pages[0]
    body = (PAGES / "vllm-0.11.txt").read_text().replace("vllm:kv_cache_usage_perc", "vllm:cache_share").encode()
    assert PageReader(page).read(body).missing == {"vllm:kv_cache_usage_perc"}
    told = PageReader(page, {"kv": ["vllm:cache_share"]}).read(body)
    assert told.fields["kv"] == 0.5
    assert not told.missing


def test_a_page_that_is_not_in_the_format_is_not_believed() -> None:
    """One wrong line of a wanted metric makes the whole page unreadable; wrong lines of others are not looked at."""
    reader = PageReader(Page(path="/m", names={"waiting": ("w",), "running": ("r",)}))
    good = b'r{a="b"} 1\nw 2\n'
    assert reader.read(good + b"other{ nonsense\n").fields == {"waiting": 2, "running": 1}
    for wrong in (
        b"w two\n",
        b'w{a="b} 2\n',
        b"w{a=b} 2\n",
        b"w \n",
        b'w{a="b"}2\n',
        b"w 1 2 3\n",
        b"w 0x10\n",
        b"w 1_0\n",
    ):
        with pytest.raises(Unreadable):
            reader.read(good + wrong)
    with pytest.raises(Unreadable):
        PageReader(Page(path="/m", form="json", names={"slots": ("total_slots",)})).read(b'{"total_slots": ')


def test_numbers_that_say_nothing_are_no_values() -> None:
    """NaN, infinities and negative loads are left out, and a share is at most 1."""
    reader = PageReader(Page(path="/m", names={"waiting": ("w",), "running": ("r",), "kv": ("k",)}))
    assert reader.read(b"w NaN\nr -1\nk 1.5\n").fields == {"kv": 1.0}
    assert reader.read(b"w 1e300\nr 0\nk -0.5\n").fields == {"running": 0.0}
    slots = PageReader(Page(path="/m", form="json", names={"slots": ("total_slots",)}))
    assert slots.read(b'{"total_slots": 1%s}' % (b"0" * 400)).fields == {}
    assert reader.read(b"w +Inf\nr 3e0\nk 0\n").fields == {"running": 3.0, "kv": 0.0}


def test_what_is_read_is_bounded() -> None:
    """A page with endless series or names costs no more than a full one."""
    page = b"".join(b'w{n="%d"} 1\n' % n for n in range(10_000))
    assert len(samples(page, "w")) == MOST_SAMPLES
    names = msgspec.json.encode({"data": [{"id": f"m{n}"} for n in range(10_000)] + [{"id": "x" * 10_000}]})
    told = PageReader(Page(path="/m", form="json", names={"models": ("data[].id",)})).read(names)
    assert len(told.fields["models"]) == MOST_NAMES
    deep = b"[" * 100_000 + b"]" * 100_000
    with pytest.raises(Unreadable):
        PageReader(Page(path="/m", form="json", names={"models": ("data[].id",)})).read(deep)


LABELS = st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), st.text(max_size=12), max_size=4)


@settings(deadline=None)
@given(st.lists(st.tuples(LABELS, st.floats(allow_nan=False)), min_size=1, max_size=6))
def test_samples_are_as_the_reference_parser_reads_them(given_: list[tuple[dict[str, str], float]]) -> None:
    """Whatever labels and values a page is written with, ours and prometheus_client's parser say the same."""
    names = sorted({name for labels, _ in given_ for name in labels if name != "le"})
    registry = CollectorRegistry()
    gauge = Gauge("m", "about\nit", names, registry=registry)
    Gauge("m_longer", "x", registry=registry).set(5)
    for labels, value in given_:
        texts = [labels.get(name, "").encode("utf-8", "replace").decode() for name in names]
        (gauge.labels(*texts) if names else gauge).set(value)
    page = generate_latest(registry)
    family = next(f for f in text_string_to_metric_families(page.decode()) if f.name == "m")
    wanted = [(dict(s.labels), s.value) for s in family.samples if s.name == "m"]
    assert [(s.labels, s.value) for s in samples(page, "m")] == wanted


READERS = [PageReader(page) for kind in catalog.types() for page in catalog.profile(kind).engine.pages]
RECORDED = [path.read_bytes() for path in sorted(PAGES.iterdir()) if path.suffix in (".txt", ".json")]


@settings(deadline=None)
@given(st.data())
def test_no_page_breaks_the_reader(data: st.DataObject) -> None:
    """Any bytes, also a recorded page with a piece cut out or put in: read, or said to be unreadable, and nothing else."""
    page = data.draw(st.sampled_from(RECORDED) | st.binary(max_size=200))
    at = data.draw(st.integers(0, len(page)))
    page = page[:at] + data.draw(st.binary(max_size=20)) + page[at + data.draw(st.integers(0, 40)) :]
    reader = data.draw(st.sampled_from(READERS))
    try:
        told = reader.read(page)
    except Unreadable:
        return
    assert told.missing <= reader.expected
    Reading(at=0, **told.fields)
    for name in ("waiting", "running", "kv", "started", "prompt_tokens"):
        assert told.fields.get(name, 0) >= 0


@pytest.mark.parametrize("kind", catalog.types())
def test_every_name_of_the_catalog_is_one(kind: str) -> None:
    """Names can be read, and what may be missing is a field that is there."""
    for page in catalog.profile(kind).engine.pages:
        PageReader(page)
        assert set(page.may) <= set(page.names)


@pytest.mark.parametrize("wrong", ["", "a b", "a{b}", "a{b=c", "a[b", "a{b=c}[d]e", "[a]"])
def test_what_is_no_name_is_refused(wrong: str) -> None:
    """A name that could never be found is a mistake, told at start."""
    with pytest.raises(ValueError, match="is not a metric's name"):
        sources_of(wrong, "prometheus")


# --- what a reading says


def test_an_adapter_suits_best_where_it_is_loaded() -> None:
    """Loaded, then room for it, then others waiting for it, then a full server; nothing known is as good as room."""
    reading = Reading(at=0, adapters=frozenset({"a"}), loading=frozenset({"b"}), most_adapters=2)
    assert [suits(reading, name) for name in ("a", "b", "c")] == [1.0, 0.6, 0.0]
    roomy = msgspec.structs.replace(reading, most_adapters=3)
    assert [suits(roomy, name) for name in ("a", "b", "c")] == [1.0, 0.6, 0.8]
    assert suits(None, "a") == suits(Reading(at=0), "a") == 0.8


def test_an_endpoint_serves_what_it_lists() -> None:
    """An engine that lists its models serves those; one that lists nothing may serve anything."""
    assert serves(None, "x")
    assert serves(Reading(at=0), "x")
    assert serves(Reading(at=0, models=frozenset({"x"})), "x")
    assert not serves(Reading(at=0, models=frozenset({"y"})), "x")


def test_a_reading_grows_stale() -> None:
    """After some seconds a reading says nothing of the load any more."""
    reading = Reading(at=5)
    assert not reading.stale(5 + int(STALE_AFTER * 1e9))
    assert reading.stale(6 + int(STALE_AFTER * 1e9))
