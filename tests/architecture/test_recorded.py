"""Every kind of provider is shown to work by a recorded shape."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_kind_of_provider_has_a_recorded_shape() -> None:
    """A file in the catalog and one in the fixtures, both or neither: see `tests/fixtures/recorded/README.md`."""
    kinds = {path.stem for path in (ROOT / "gateway/providers/catalog").glob("*.yaml")}
    shapes = {path.stem for path in (ROOT / "tests/fixtures/recorded").glob("*.yaml")}
    assert len(kinds) > 15, "the catalog has moved; this test looks at nothing"
    assert kinds == shapes
