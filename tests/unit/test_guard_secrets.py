"""Which keys and passwords are seen, in prose and in code, and which look-alikes are not."""

from __future__ import annotations

import pytest

from guardrails.finding.spans import rewrite
from guardrails.hiding.link_hosts import Allowed, own_hosts
from guardrails.hiding.restore import Placeholders, Restorer, restore
from guardrails.hiding.vault import Vault
from guardrails.private import secret_tokens
from guardrails.private.secret_tokens import entropy, looks_secret
from tests.fixtures.guard_world import exchange_of

SCANNER = secret_tokens.scanner()
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nabc=\n-----END RSA PRIVATE KEY-----"


def found(text: str) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in SCANNER.find(text)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("key sk-abcDEF0123456789abcd.", "sk-abcDEF0123456789abcd"),
        ("sk-ant-api03-abcDEF0123456789_abcd-AA", "sk-ant-api03-abcDEF0123456789_abcd-AA"),
        ("id=AKIAIOSFODNN7EXAMPLE&x", "AKIAIOSFODNN7EXAMPLE"),
        ("(ghp_0123456789abcdefABCDEF0123456789abcd)", "ghp_0123456789abcdefABCDEF0123456789abcd"),
        ("xoxb-123456789012-abcdefABCDEF", "xoxb-123456789012-abcdefABCDEF"),
        ("AIzaSyA0123456789abcdefABCDEF0123456789ab", "AIzaSyA0123456789abcdefABCDEF0123456789ab"),
        ("sk_live_0123456789abcdefABCDEF", "sk_live_0123456789abcdefABCDEF"),
        ("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.abcDEF0123456789",
         "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.abcDEF0123456789"),
        ('api_key = "9f8e7d6c5b4a39281706"', "9f8e7d6c5b4a39281706"),
        ('{"client_secret": "9f8e7d6c5b4a39281706"}', "9f8e7d6c5b4a39281706"),
        ("export SERVICE_TOKEN=Zx81-qwP0-99Lm", "Zx81-qwP0-99Lm"),
        ("curl -H 'Authorization: Bearer q9W8e7R6t5Y4u3I2o1P0'", "q9W8e7R6t5Y4u3I2o1P0"),
        ("openai.api_key = \"sk-abcDEF0123456789abcdefGHIJ\"", "sk-abcDEF0123456789abcdefGHIJ"),
        ('client = OpenAI(api_key="sk-proj-Ab12_Cd34-Ef56Gh78Ij90")', "sk-proj-Ab12_Cd34-Ef56Gh78Ij90"),
        ('headers = {"Authorization": "Bearer q9W8e7R6t5Y4u3I2o1P0"}', "q9W8e7R6t5Y4u3I2o1P0"),
        ('requests.get(url, headers={"X-Api-Key": "9f8e7d6c5b4a39281706"})', "9f8e7d6c5b4a39281706"),
        ('os.environ["OPENAI_API_KEY"] = "sk-abcDEF0123456789abcdefGHIJ"', "sk-abcDEF0123456789abcdefGHIJ"),
        ('os.environ["API_TOKEN"] = "a8f5f167f44f4964e6c998dee827110c"', "a8f5f167f44f4964e6c998dee827110c"),
        ("const token = 'a8f5f167f44f4964e6c998dee827110c';", "a8f5f167f44f4964e6c998dee827110c"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzKEY1", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzKEY1"),
        ("AccountName=x;AccountKey=Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA==;", "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA=="),
        ('SECRET_KEY = "django-insecure-9x8c7v6b5n4m3l2k1j0h"', "django-insecure-9x8c7v6b5n4m3l2k1j0h"),
        ("//registry.npmjs.org/:_authToken=npm_abcdefghijklmnopqrstuvwxyz0123456789", "npm_abcdefghijklmnopqrstuvwxyz0123456789"),
        ("pypi-AgEIcHlwaS5vcmcCJDY3ZTA5ZTA5LWE4ZTQtNGY3YS05ZWE0LTk0MmU2Yjk2", "pypi-AgEIcHlwaS5vcmcCJDY3ZTA5ZTA5LWE4ZTQtNGY3YS05ZWE0LTk0MmU2Yjk2"),
        ("login(token='hf_abcdefghijklmnopqrstuvwxyzABCDEFGH')", "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"),
        ('stripe.api_key = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"', "sk_test_4eC39HqLyjWDarjtT1zdp7dc"),
        ("bot 123456789:AAabcdefghijklmnopqrstuvwxyzABCDEFG up", "123456789:AAabcdefghijklmnopqrstuvwxyzABCDEFG"),
        ("xapp-1-A0123456789-0123456789012-abcdef0123456789", "xapp-1-A0123456789-0123456789012-abcdef0123456789"),
        ("shpat_0123456789abcdef0123456789abcdef", "shpat_0123456789abcdef0123456789abcdef"),
    ],
)  # fmt: skip
def test_finds_keys(text: str, value: str) -> None:
    """Vendors' forms and assigned values, without the punctuation around them."""
    assert ("API_KEY", value) in found(text)


def test_finds_passwords_and_private_keys() -> None:
    """Typed as what they are."""
    assert found("password: 's3cr3t-Pa55phrase'") == [("PASSWORD", "s3cr3t-Pa55phrase")]
    assert found("postgres://app:hunter2pw@db.example/x")[0][1].endswith("hunter2pw")
    assert found(f"here:\n{PEM}\nthanks") == [("PRIVATE_KEY", PEM)]


def test_a_private_key_without_end_is_found_as_far_as_it_goes() -> None:
    """A block that is cut off is still a secret."""
    text = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk"
    assert found(text) == [("PRIVATE_KEY", text)]
    assert found(f'{{"key": "{text}", "n": "x"}}') == [("PRIVATE_KEY", text)]


@pytest.mark.parametrize(
    "text",
    [
        "api_key = os.environ['OPENAI_API_KEY']",
        "api_key = config.api_key",
        "api_key: your_api_key_here",
        'token = "${TOKEN}"',
        "password = None",
        "The token is valid. The secret: never give up.",
        "sk-learn is a library; sk- too",
        "the password reset link expires",
        "[[API_KEY_1]] api_key = [[API_KEY_1]]",
        "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
        "max_tokens: 1000, token_count = 12345678",
        "token = get_token(); secret = secrets.token_hex(16)",
        'headers = {"Authorization": f"Bearer {token}"}',
        "client = OpenAI(api_key=api_key, token=token)",
        "if token == other_token: keys = [key for key in tokens]",
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
    ],
)
def test_leaves_code_and_stand_ins_alone(text: str) -> None:
    """References to secrets, examples and words are no secrets."""
    assert found(text) == []


CODE = """import openai

openai.api_key = "sk-abcDEF0123456789abcdefGHIJ"
HEADERS = {"Authorization": "Bearer q9W8e7R6t5Y4u3I2o1P0", "X-Slack": 'xoxb-123456789012-abcdefABCDEF'}
\tpassword='s3cr3t-Pa55phrase'  # [[API_KEY_1]] is not ours
db = connect(f"postgres://app:hunter2pw@{host}/x", token="ghp_0123456789abcdefABCDEF0123456789abcd")
print(openai.api_key == "sk-abcDEF0123456789abcdefGHIJ")
"""


def test_a_token_inside_code_goes_out_masked_and_comes_back_to_the_letter() -> None:
    """The model sees code without its secrets, the same token as the same placeholder; what it writes back is the client's
    own code again, in pieces of any size."""
    vault = Vault([CODE])
    masked = rewrite(CODE, SCANNER.find(CODE), vault.issue)
    for secret in ("sk-abc", "q9W8", "xoxb", "s3cr3t", "hunter2", "ghp_"):
        assert secret not in masked
    assert masked.count("[[API_KEY_2]]") == 2
    assert 'openai.api_key = "[[API_KEY_2]]"' in masked
    allowed = Allowed(own=lambda: own_hosts(exchange_of(("user", masked)).asked(), vault.values))
    assert restore(masked, vault.values, allowed=allowed) == CODE
    for size in (1, 2, 7, 50):
        restorer = Restorer(Placeholders(vault.values, allowed))
        pieces = [restorer.push(masked[at : at + size]) for at in range(0, len(masked), size)]
        assert "".join([*pieces, restorer.finish()]) == CODE


def test_entropy_is_bits_per_character() -> None:
    """0 for one letter repeated, 2 for four letters in equal parts."""
    assert entropy("aaaa") == 0
    assert entropy("abcd") == 2
    assert not looks_secret("aaaaaaaa1", 2.5)
