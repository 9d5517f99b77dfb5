"""`tidegate explain ID`: one decision record of a running gateway, as a story; with `--config`, also what another
configuration would have decided."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from gateway.configuring.problems import ConfigError

if TYPE_CHECKING:
    from gateway.core.receipt import Receipt

KEY = "TIDEGATE_KEY"
MOST = 4 * 1024 * 1024
"""Bytes of a record."""
_TOLD = f"""\
ID is what the gateway answers as x-request-id. It keeps its last 500 records, each worker process its own.
Where keys are in force an admin key is needed, in the environment as {KEY}.
With --config the record is also put to that configuration: which route, checks, caches and models would be chosen now, and
what cannot be known, because a record holds no text.
Status: 0 told, 1 there is no such record, 2 it could not be asked."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Unasked(Exception):
    """Why the gateway could not be asked."""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "explain",
        help="tell what happened to one request",
        epilog=_TOLD,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("id", metavar="ID", help="the request's id")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the gateway (default: %(default)s)")
    parser.add_argument("--config", type=Path, help="also say what this configuration would decide")
    parser.add_argument("--json", action="store_true", help="the record as JSON, with --config beside the replay")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds to wait (default: %(default)g)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        body = fetch(options.url, options.id, os.environ.get(KEY, ""), options.timeout)
        if body is None:
            print(f"{options.url} has no record of {options.id!r}; it keeps the last ones only", file=sys.stderr)
            return 1
        lines = _json(body, options.config) if options.json else _story(body, options.config)
    except ConfigError as wrong:
        print(*wrong.problems, sep="\n", file=sys.stderr)
        return 2
    except (Unasked, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(*lines, sep="\n")
    return 0


def _story(body: bytes, config: Path | None) -> list[str]:
    from gateway.commands.replay import lines_of, replayed
    from gateway.console.story import story

    receipt = _receipt(body)
    lines = story(receipt)
    if config is not None:
        lines += lines_of(replayed(receipt, _loaded(config)), str(config))
    # What clients name (users, sessions, tags) is not for the terminal to interpret.
    return [_CONTROL.sub("\ufffd", line) for line in lines]


def _json(body: bytes, config: Path | None) -> list[str]:
    import msgspec

    from gateway.commands.replay import replayed

    told = json.loads(body)
    if config is not None:
        replay = replayed(_receipt(body), _loaded(config))
        told = {"record": told, "replay": msgspec.to_builtins(replay)}
    return [json.dumps(told, indent=2)]


def _receipt(body: bytes) -> Receipt:
    import msgspec

    from gateway.core.receipt import Receipt

    try:
        return msgspec.json.decode(body, type=Receipt)
    except msgspec.DecodeError as error:
        raise Unasked(f"the answer is no decision record: {error}") from None


def _loaded(path: Path) -> Any:
    """Raises ConfigError with every problem."""
    from gateway import config as configuration

    return configuration.load(path)


def fetch(url: str, id: str, key: str, timeout: float) -> bytes | None:
    """The record as JSON; None when there is none. Raises Unasked. No proxy and no redirect: the key goes to `url` only."""
    if not _is_address(url):
        raise Unasked(f"--url {url!r}: give the gateway's address, such as http://127.0.0.1:8080")
    if "/" in id:
        return None  # no id has one, and no path does with it what is meant
    request = urllib.request.Request(f"{url.rstrip('/')}/admin/v1/receipts/{quote(id, safe='')}")  # noqa: S310
    if key:
        request.add_header("authorization", f"Bearer {key}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    try:
        with opener.open(request, timeout=timeout) as reply:
            body: bytes = reply.read(MOST)
            return body
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 404 and _says_no_record(error.read(65536)):
                return None
        if error.code in (401, 403):
            raise Unasked(f"{url} wants an admin key: set {KEY} to one") from None
        raise Unasked(f"{url} answered with HTTP {error.code}; is it a Tidegate of this version?") from None
    except (OSError, ValueError) as error:
        raise Unasked(f"{url} cannot be asked: {getattr(error, 'reason', None) or error}") from None


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _says_no_record(body: bytes) -> bool:
    """Any server says 404 to a path it does not know; ours says of what."""
    try:
        return bool(json.loads(body)["error"]["code"] == "receipt_not_found")
    except (ValueError, KeyError, TypeError):
        return False
