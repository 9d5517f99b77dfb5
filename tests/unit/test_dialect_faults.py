"""Upstream errors as our faults, and our faults as each dialect tells them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core import errors
from gateway.core.errors import GatewayFault
from gateway.dialects.upstream_faults import in_stream, retry_after
from tests.fixtures.dialects import ANTHROPIC, DIALECTS, OPENAI, dumps

SECRET = "sk-canary-1234567890"

CASES: list[tuple[int, Any, type[GatewayFault], str | None]] = [
    (400, {"error": {"message": "bad n", "type": "invalid_request_error", "param": "n", "code": "x"}}, errors.UpstreamRejected, "x"),
    (400, {"error": {"message": "This model's maximum context length is 8192 tokens.", "code": "context_length_exceeded"}}, errors.ContextOverflow, "context_length_exceeded"),
    (400, {"error": {"code": 400, "message": "the request exceeds", "type": "exceed_context_size_error"}}, errors.ContextOverflow, "context_length_exceeded"),
    (400, {"object": "error", "message": "This model's maximum context length is 10 tokens", "code": 400}, errors.ContextOverflow, "context_length_exceeded"),
    (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"}}, errors.ContextOverflow, "context_length_exceeded"),
    (400, {"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}}, errors.UpstreamRefusedUs, "upstream_authentication"),
    (404, {"error": {"message": "no such model", "code": "model_not_found"}}, errors.UpstreamRejected, "model_not_found"),
    (413, b"<html>too large</html>", errors.UpstreamRejected, None),
    (422, {"detail": [{"loc": ["body"]}]}, errors.UpstreamRejected, None),
    (422, {"detail": "no"}, errors.UpstreamRejected, None),
    (401, {"error": {"message": f"Incorrect API key provided: {SECRET}"}}, errors.UpstreamRefusedUs, "upstream_authentication"),
    (402, {"error": {"message": f"balance {SECRET}"}}, errors.UpstreamRefusedUs, "upstream_authentication"),
    (403, SECRET.encode(), errors.UpstreamRefusedUs, "upstream_authentication"),
    (408, b"", errors.UpstreamLimited, "rate_limit_exceeded"),
    (429, {"error": {"message": f"org {SECRET}"}}, errors.UpstreamLimited, "rate_limit_exceeded"),
    (409, {"error": {"message": SECRET}}, errors.UpstreamFailed, "upstream_error"),
    (500, {"error": {"message": SECRET}}, errors.UpstreamFailed, "upstream_error"),
    (502, b"\xff" + SECRET.encode(), errors.UpstreamFailed, "upstream_error"),
    (503, {"error": SECRET}, errors.UpstreamFailed, "upstream_error"),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": SECRET}}, errors.UpstreamFailed, "upstream_error"),
    (302, b"", errors.UpstreamFailed, "upstream_error"),
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(DIALECTS))
@pytest.mark.parametrize(("status", "body", "kind", "code"), CASES)
def test_an_error_reply_is_one_fault(
    name: str, status: int, body: Any, kind: type[GatewayFault], code: str | None
) -> None:
    """The status and the error's own words decide the fault; nothing but the client's own mistake keeps its text."""
    fault = DIALECTS[name].fault(status, {}, body if isinstance(body, bytes) else dumps(body))
    assert type(fault) is kind
    assert fault.code == code
    assert SECRET not in fault.message
    assert fault.message


def test_what_the_client_did_wrong_is_told_in_the_upstreams_words() -> None:
    """400s keep message and param, shortened to 500 characters and to one line."""
    body = {"error": {"message": "  too\nbig " + "x" * 5000, "param": "messages[0]"}}
    fault = OPENAI.fault(400, {}, dumps(body))
    assert fault.param == "messages[0]"
    assert fault.message.startswith("too big xxx")
    assert len(fault.message) == 500


def test_a_huge_or_deep_error_body_is_not_read() -> None:
    """An error page costs nothing: past 64 KiB it is not parsed, and depth is no way in either."""
    assert type(OPENAI.fault(400, {}, b"[" * 60_000)) is errors.UpstreamRejected
    big = dumps({"error": {"message": "m", "code": "context_length_exceeded", "pad": "x" * 70_000}})
    assert type(OPENAI.fault(400, {}, big)) is errors.UpstreamRejected


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:00 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Wed, 99 Oct 99999 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after_comes_as_seconds_milliseconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    """Whatever form it has, it is seconds from now; a form that makes no sense is none."""
    assert retry_after(headers) == seconds
    assert OPENAI.fault(429, {name.title(): value for name, value in headers.items()}, b"").retry_after == seconds
    assert OPENAI.fault(503, headers, b"").retry_after == seconds


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"error": {"code": 502, "message": SECRET}}, errors.UpstreamFailed),
        ({"error": {"code": 429, "message": SECRET}}, errors.UpstreamLimited),
        ({"error": {"message": "bad", "type": "BadRequestError", "code": 400}}, errors.UpstreamRejected),
        ({"error": {"type": "overloaded_error", "message": SECRET}}, errors.UpstreamFailed),
        ({"error": {"type": "rate_limit_error"}}, errors.UpstreamLimited),
        ({"error": {"type": "authentication_error", "message": SECRET}}, errors.UpstreamRefusedUs),
        ({"error": {"message": "maximum context length", "code": "context_length_exceeded"}}, errors.ContextOverflow),
        ({"error": SECRET}, errors.UpstreamFailed),
        ({"error": True}, errors.UpstreamFailed),
    ],
)
def test_an_error_inside_a_reply_is_told_by_its_type(value: Any, kind: type[GatewayFault]) -> None:
    """With HTTP status 200 the error object's own code or type stands for the status."""
    fault = in_stream(value)
    assert type(fault) is kind
    assert SECRET not in fault.message


@pytest.mark.parametrize("kind", sorted(errors.NAMES, key=lambda kind: kind.__name__))
def test_every_fault_has_a_body_in_every_dialect(kind: type[GatewayFault]) -> None:
    """`param` and `code` are JSON null where there is none; Anthropic's carries the request's id."""
    told = json.loads(OPENAI.error(kind("what, where, what to do"), "tg-1"))
    assert told == {
        "error": {
            "message": "what, where, what to do",
            "type": kind.wire.openai_type,
            "param": None,
            "code": kind.wire.openai_code,
        }
    }
    told = json.loads(ANTHROPIC.error(kind("what, where, what to do", param="n"), "tg-1"))
    words = "prompt is too long: " if kind is errors.ContextOverflow else ""
    assert told == {
        "type": "error",
        "error": {"type": kind.wire.anthropic_type, "message": f"{words}what, where, what to do"},
        "request_id": "tg-1",
    }


def test_model_lists() -> None:
    """Each SDK's own shape, for the list and for one model."""
    assert json.loads(OPENAI.models(["a", "b/c:1"], 5)) == {
        "object": "list",
        "data": [
            {"id": "a", "object": "model", "created": 5, "owned_by": "tidegate"},
            {"id": "b/c:1", "object": "model", "created": 5, "owned_by": "tidegate"},
        ],
    }
    assert json.loads(OPENAI.models(["a"], 5, one=True))["id"] == "a"
    listed = json.loads(ANTHROPIC.models(["a", "b"], 0))
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == ("a", "b", False)
    one = {"type": "model", "id": "a", "display_name": "a", "created_at": "1970-01-01T00:00:00Z", "lifecycle": "active"}
    assert listed["data"][0] == json.loads(ANTHROPIC.models(["a"], 0, one=True)) == one
    assert json.loads(ANTHROPIC.models([], 0)) == {"data": [], "has_more": False, "first_id": None, "last_id": None}
