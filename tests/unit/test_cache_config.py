from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from cache.config import CacheConfig, ExactConfig, NearConfig, SemanticConfig, describe, problems
from gateway.core.units import Duration, Size


def test_the_contracts_example_reads() -> None:
    """The block in the documentation is a valid configuration without problems."""
    config = msgspec.convert(
        {
            "partition": "user",
            "exact": {"ttl": 3600.0, "max_entries": 10000, "evict": "lru"},
            "semantic": {"ttl": 3600.0, "threshold": 0.93, "max_false_hit_rate": 0.01, "verify_sample": 0.02},
        },
        CacheConfig,
    )
    assert config == CacheConfig(exact=ExactConfig(), semantic=SemanticConfig())
    assert problems(config, "routes.default.cache") == []


@pytest.mark.parametrize("wrong", [{"partitoin": "user"}, {"partition": "world"}, {"exact": {"evict": "random"}}])
def test_what_is_not_known_is_refused(wrong: dict[str, object]) -> None:
    """Unknown names and words are errors, not ignored."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, CacheConfig)


def test_every_problem_is_named_by_its_path() -> None:
    """Each value out of bounds is one line that says where it stands, what it is and what it may be."""
    config = CacheConfig(
        exact=ExactConfig(ttl=Duration(0), max_entries=0, max_bytes=Size(5)),
        semantic=SemanticConfig(
            ttl=Duration(1e9),
            threshold=1.5,
            max_false_hit_rate=-1,
            verify_sample=2,
            max_entries=60_000,
            max_temperature=-1,
        ),
    )
    found = problems(config, "routes.a.cache", qdrant="vectors", workers=4)
    places = [line.split(": ")[0] for line in found]
    assert places == [
        "routes.a.cache.exact.ttl",
        "routes.a.cache.exact.max_entries",
        "routes.a.cache.exact.max_bytes",
        "routes.a.cache.semantic.ttl",
        "routes.a.cache.semantic.threshold",
        "routes.a.cache.semantic.max_false_hit_rate",
        "routes.a.cache.semantic.verify_sample",
        "routes.a.cache.semantic.max_temperature",
        "routes.a.cache.semantic.max_entries",
        "qdrant",
    ]
    assert "1.5 is not between 0 and 1" in found[4]


def test_shares_the_near_tier_and_tags_have_bounds() -> None:
    """A share is no more than the whole, the near tier keeps for seconds only, and tags are few and short."""
    wide = ExactConfig(
        max_bytes=Size(1 << 20),
        max_bytes_per_tenant=Size(1 << 21),
        near=NearConfig(max_entries=0, ttl=Duration(60)),
    )
    found = problems(CacheConfig(exact=wide, tags=("",)), "c")
    assert [line.split(": ")[0] for line in found] == [
        "c.exact.max_bytes_per_tenant",
        "c.exact.near.ttl",
        "c.exact.near.max_entries",
        "c.tags",
    ]
    near = CacheConfig(exact=ExactConfig(near=NearConfig()), tags=("faq",))
    assert problems(near, "c") == []
    assert "for up to 2 s more" in "\n".join(describe(near, redis=True))
    assert "near is for what is in Redis" in "\n".join(describe(near))
    shares = CacheConfig(exact=ExactConfig(max_bytes_per_tenant=Size(1 << 20)))
    assert "1048576 bytes of one tenant" in "\n".join(describe(shares))


def test_a_server_lifts_the_limits_of_one_process() -> None:
    """With a Qdrant server neither many entries nor many workers are a problem."""
    config = CacheConfig(semantic=SemanticConfig(max_entries=1_000_000))
    assert problems(config, "c", qdrant="http://qdrant:6333", workers=8) == []


@pytest.mark.parametrize(("evidence", "wrong"), [("required", 0), ("assume", 0), ("there.json", 0), ("assumed", 1)])
def test_evidence_is_a_word_or_a_file_that_is_there(evidence: str, wrong: int, tmp_path: Path) -> None:
    """A misspelt word is taken for a file, and a file that is not there is an error before the gateway starts."""
    (tmp_path / "there.json").touch()
    config = CacheConfig(semantic=SemanticConfig(evidence=evidence))
    found = problems(config, "c", base=tmp_path)
    assert len(found) == wrong
    assert all(line.startswith("c.semantic.evidence: 'assumed' is neither") for line in found)


def test_what_is_served_when_is_said() -> None:
    """The description says from when on similar questions are answered, and what Redis decides itself."""
    config = CacheConfig(exact=ExactConfig(), semantic=SemanticConfig())
    lines = "\n".join(describe(config, redis=True, qdrant="vectors"))
    assert "in shadow, every question going to the model, until at least 299 would-be hits were compared" in lines
    assert "2 % of hits are compared with a fresh answer" in lines
    assumed = CacheConfig(semantic=SemanticConfig(evidence="assume", verify_sample=0.0))
    assert "on your word, until more than 1 % are proved wrong; no hit is compared" in "\n".join(describe(assumed))
    assert "are not applied there" in lines
    assert "on disk in vectors" in lines
    assert describe(CacheConfig()) == ["no cache"]
    assert "lru" in "\n".join(describe(CacheConfig(exact=ExactConfig())))
