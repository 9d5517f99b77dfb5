"""Every SDK, unmodified, over a real socket: each feature and each error, streamed and not, in each dialect."""

from __future__ import annotations

import pytest

from gateway.demo.fleet import Fleet
from gateway.faults.server import FaultServer
from tests.fixtures import sdk_table
from tests.fixtures.fleet import Background, Serve
from tests.fixtures.sdk_cases import Case
from tests.fixtures.sdk_kits import HOME, Kit
from tests.fixtures.sdk_matrix import Measured, expected, measure, world
from tests.fixtures.sdk_roster import KITS

pytestmark = pytest.mark.skipif(
    not (HOME / ".installed").exists(), reason="the SDKs are not installed: `./dev test` does it, and says if it cannot"
)

ALL = [
    pytest.param(kit, case, stream, id=f"{kit.name}-{case.feature}-{'stream' if stream else 'whole'}")
    for kit in KITS
    for case, stream in expected(kit)
]


@pytest.fixture(scope="module")
def measured(serve: Serve, fleet: Fleet, background: Background, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    faults = FaultServer()
    background.run(faults.start())
    return measure(world(serve, fleet, faults, tmp_path_factory.mktemp("sdks")))


@pytest.mark.parametrize(("kit", "case", "stream"), ALL)
def test_an_sdk_gives_its_application_what_it_should(measured: Measured, kit: Kit, case: Case, stream: bool) -> None:
    """What the SDK gave keeps the case's law."""
    measured.check(kit, case, stream)


def test_the_page_says_what_was_measured(measured: Measured, request: pytest.FixtureRequest) -> None:
    """The tables in `docs/sdks.md` are these results; `--write-sdks` puts them there."""
    table = sdk_table.render(measured.passed, measured.versions)
    assert "fails" not in table
    if request.config.getoption("--write-sdks"):
        sdk_table.write(table)
    assert sdk_table.same(sdk_table.written(), table), (
        "docs/sdks.md does not say what was measured: run `./dev test tests/contract/test_sdk_matrix.py --write-sdks`, which "
        "rewrites its tables, and look at what changed"
    )
