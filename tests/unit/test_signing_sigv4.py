"""AWS's signatures: the published examples, and what a signature must depend on."""

from __future__ import annotations

import os
from calendar import timegm
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.clock import ManualClock
from gateway.core.secret import Secret
from gateway.providers.signing.aws import KIND, AwsSigner, region_of
from gateway.providers.signing.aws_keys import fixed_key
from gateway.providers.signing.config import AwsConfig
from gateway.providers.signing.sigv4 import AwsKey, Scope, signed

# The key, the time and the signatures of AWS's own test suite for Signature Version 4.
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEY = AwsKey("AKIDEXAMPLE", Secret(SECRET))
WHEN = timegm((2015, 8, 30, 12, 36, 0))
HOST = "example.amazonaws.com"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PUBLISHED = [
    ("get-vanilla", "GET", "/", "", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("post-vanilla", "POST", "/", "", {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    (
        "get-vanilla-query-order-key-case", "GET", "/", "Param2=value2&Param1=value1", {}, b"",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "post-x-www-form-urlencoded", "POST", "/", "", FORM, b"Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    (
        "post-header-key-case", "POST", "/", "", {"My-Header1": "value1"}, b"",
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    ("get-utf8", "GET", "/\u1234", "", {}, b"", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
]  # fmt: skip


def signature(**changed: object) -> str:
    given = {
        "method": "POST", "host": HOST, "path": "/model/a%3A1/converse", "query": "", "headers": {"content-type": "a/b"},
        "body": b"{}", "key": KEY, "scope": Scope("us-east-1", "bedrock"), "when": WHEN, **changed,
    }  # fmt: skip
    return signed(**given)["authorization"].rpartition("Signature=")[2]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "body", "wanted"),
    [row[1:] for row in PUBLISHED],
    ids=[r[0] for r in PUBLISHED],
)
def test_the_published_examples_come_out(
    method: str, path: str, query: str, headers: dict[str, str], body: bytes, wanted: str
) -> None:
    """Each request of AWS's test suite has the signature that AWS prints for it."""
    made = signed(method, HOST, path, query, headers, body, KEY, Scope("us-east-1", "service"), WHEN)
    assert made["authorization"].endswith(f"Signature={wanted}")
    assert made["x-amz-date"] == "20150830T123600Z"


def test_the_example_of_the_user_guide_comes_out() -> None:
    """The whole header of the guide's call of IAM."""
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    query = "Action=ListUsers&Version=2010-05-08"
    made = signed("GET", "iam.amazonaws.com", "/", query, headers, b"", KEY, Scope("us-east-1", "iam"), WHEN)
    assert made["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_another_body_has_another_signature(one: bytes, other: bytes) -> None:
    """The signature covers the body: equal bodies sign alike, others differently."""
    assert (signature(body=one) == signature(body=other)) == (one == other)


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "PUT"}, {"host": "other.example"}, {"path": "/model/a%3A2/converse"}, {"query": "a=b"},
        {"headers": {"content-type": "c/d"}}, {"when": WHEN + 1}, {"scope": Scope("eu-west-1", "bedrock")},
        {"scope": Scope("us-east-1", "s3")}, {"key": AwsKey("AKIDEXAMPLE", Secret("x"))},
        {"key": AwsKey("AKIDEXAMPLE", Secret(SECRET), Secret("t"))},
    ],
)  # fmt: skip
def test_everything_that_is_signed_counts(changed: dict[str, object]) -> None:
    """A change of any signed part changes the signature."""
    assert signature(**changed) != signature()


def test_a_session_token_travels_and_is_signed() -> None:
    """Temporary credentials add their token to what is sent and to what is signed."""
    made = signed("POST", HOST, "/", "", {}, b"", AwsKey("A", Secret("s"), Secret("tok")), Scope("r", "s"), WHEN)
    assert made["x-amz-security-token"] == "tok"
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token" in made["authorization"]


async def test_a_wrong_clock_is_set_right_by_the_refusal() -> None:
    """A refusal that tells a time far from ours is worth one more try, at AWS's time; any other is not."""
    clock = ManualClock(wall=WHEN * 10**9)
    signer = AwsSigner(KEY, Scope("us-east-1", "bedrock"), clock)
    sent = await signer.headers("POST", f"https://{HOST}/x", [("content-type", "a/b")], b"")
    assert not signer.refused(403, {"date": formatdate(WHEN + 20, usegmt=True)}, sent)
    assert not signer.refused(403, {"date": "yesterday"}, sent)
    assert not signer.refused(403, {}, sent)
    assert signer.refused(403, {"date": formatdate(WHEN + 900, usegmt=True)}, sent)
    again = await signer.headers("POST", f"https://{HOST}/x", [("content-type", "a/b")], b"")
    assert (sent["x-amz-date"], again["x-amz-date"]) == ("20150830T123600Z", "20150830T125100Z")
    assert not signer.refused(403, {"date": formatdate(WHEN + 901, usegmt=True)}, again)


def test_the_environment_stands_in_for_what_is_not_given() -> None:
    """Region by region, the key as a whole: a half from here and a half from there would never fit."""
    env = {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S", "AWS_SESSION_TOKEN": "T"}
    assert region_of(None, env) == region_of(AwsConfig(), {"AWS_DEFAULT_REGION": "eu-west-1"}) == "eu-west-1"
    assert region_of(AwsConfig(region="us-east-1"), env) == "us-east-1"
    assert fixed_key(None, env) == AwsKey("A", Secret("S"), Secret("T"))
    assert fixed_key(AwsConfig(access_key_id="B"), env) == AwsKey("B", Secret(""), None)
    assert fixed_key(None, {}) is fixed_key(AwsConfig(), {}) is None


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each missing or impossible part with its path, and where else it could stand."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)

    class Given:
        google = oauth = None

        def __init__(self, aws: AwsConfig | None) -> None:
            self.aws = aws

    found = dict(KIND.problems(Given(None)))
    assert set(found) == {"aws.region", "aws.access_key_id"}
    found = dict(KIND.problems(Given(AwsConfig(region="us-east-1", access_key_id="A"))))
    assert set(found) == {"aws.secret_access_key"}
    assert "AWS_SECRET_ACCESS_KEY" in found["aws.secret_access_key"]
    wrong = AwsConfig(region="us east", access_key_id="A", secret_access_key=Secret("s\n"), session_token=Secret("a b"))
    found = dict(KIND.problems(Given(wrong)))
    assert set(found) == {"aws.region", "aws.secret_access_key", "aws.session_token"}
    assert "s\n" not in str(found)
