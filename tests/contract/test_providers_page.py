"""The page about providers: its examples are configurations, and its tables are the catalog's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway import config as configuration
from gateway.commands.check import report_of
from gateway.providers import catalog
from gateway.providers.profile import Params, Profile
from gateway.providers.signing.kinds import KINDS

PAGE = Path(__file__).resolve().parents[2] / "docs/providers.md"
TEXT = PAGE.read_text("utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
CONFIGS = [example for example in EXAMPLES if example.startswith("version: 1")]
VENDOR, PRICES = [example for example in EXAMPLES if not example.startswith("version: 1")]
ENVIRONMENT = {
    "OPENAI_API_KEY": "sk", "ANTHROPIC_API_KEY": "sk", "AZURE_API_KEY": "k", "TENANT": "t", "CLIENT_ID": "c",
    "CLIENT_SECRET": "s", "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s", "MISTRAL_API_KEY": "k",
    "ACME_API_KEY": "k",
}  # fmt: skip
KINDS_TABLE = dict(re.findall(r"^\| `([a-z-]+)` \| ([^|]+ \| [^|]+) \|", TEXT, re.MULTILINE))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the examples name: a key file of Google's, and the vendor of the page itself."""
    pem = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    account = {
        "type": "service_account", "project_id": "acme-ai", "client_email": "g@x", "private_key": pem.decode(),
        "token_uri": "https://oauth2.googleapis.com/token",
    }  # fmt: skip
    (tmp_path / "vertex.json").write_text(json.dumps(account))
    (tmp_path / "vendors").mkdir()
    (tmp_path / "vendors/acme.yaml").write_text(VENDOR)
    (tmp_path / "prices.yaml").write_text(PRICES)
    return tmp_path


@pytest.mark.parametrize("at", range(len(CONFIGS)))
def test_every_example_is_a_configuration(at: int, folder: Path) -> None:
    """Read as it stands, with every address filled in, and reported by `tidegate check`."""
    config = configuration.read(CONFIGS[at], folder, ENVIRONMENT)
    assert report_of(config)["prices"]["table"]


def test_the_kinds_are_the_catalogs() -> None:
    """Each kind has its row, with the dialect and the credential that its file says."""
    assert set(KINDS_TABLE) == set(catalog.types())
    for kind, told in KINDS_TABLE.items():
        profile = catalog.profile(kind)
        dialects, auth = (part.strip() for part in told.split("|"))
        assert dialects == ", ".join((profile.dialect, *profile.native)), kind
        assert auth == profile.auth, kind


def test_every_field_of_a_vendors_file_is_told() -> None:
    """The table of fields is what a profile has; the example uses only those."""
    table = TEXT[TEXT.index("| field |") : TEXT.index("A kind for the catalog")]
    rows = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[2:]
    told = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
    assert told == set(Profile.__struct_fields__)
    assert set(yaml.safe_load(VENDOR)) <= told
    for word in Params.__struct_fields__:
        assert re.search(rf"`{word}\b", table)


def test_the_kinds_of_signing_are_told() -> None:
    """Each by its word in the section on credentials."""
    section = TEXT[TEXT.index("## Credentials") : TEXT.index("## Bedrock")]
    for kind in KINDS:
        assert f"**`{kind}`**" in section
