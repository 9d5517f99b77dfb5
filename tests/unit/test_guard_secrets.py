"""Which keys and passwords are seen, in prose and in code, and which look-alikes are not."""

from __future__ import annotations

import pytest

from guardrails import secret_tokens
from guardrails.secret_tokens import entropy, looks_secret

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
    ],
)
def test_leaves_code_and_stand_ins_alone(text: str) -> None:
    """References to secrets, examples and words are no secrets."""
    assert found(text) == []


def test_entropy_is_bits_per_character() -> None:
    """0 for one letter repeated, 2 for four letters in equal parts."""
    assert entropy("aaaa") == 0
    assert entropy("abcd") == 2
    assert not looks_secret("aaaaaaaa1", 2.5)
