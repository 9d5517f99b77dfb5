"""A provider, ready to be called: one class for all of them. What differs comes from the profile and the dialect."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence

import gateway
from gateway.core.errors import BadRequest, GatewayFault, UpstreamFailed, UpstreamLimited, UpstreamTimeout
from gateway.core.passing import Passing
from gateway.core.plan import Target, Timeouts
from gateway.core.ports import Call, Dialect, Reply
from gateway.core.request import Request
from gateway.pools.affinity import Ask, plain
from gateway.pools.asked import NOTHING
from gateway.pools.endpoint import Endpoint
from gateway.pools.endpoints import Endpoints
from gateway.pools.lease import Lease
from gateway.providers import relayed
from gateway.providers.addresses import Paths
from gateway.providers.counting import COUNTS, CountedHere
from gateway.providers.failures import fault_of, overridden, says_of_health
from gateway.providers.http_client import HttpClient, HttpReply
from gateway.providers.http_errors import ConnectFailed, HttpError, ReadTimeout
from gateway.providers.profile import Profile
from gateway.providers.signing.sending import send_signed
from gateway.providers.signing.signer import Signer
from gateway.providers.upstream_reply import UpstreamReply

MAX_ERROR_BODY = 64 * 1024
ERROR_BODY_SECONDS = 5.0
MAX_TRIED = 3
"""Endpoints tried for one call when no connection can be made: nothing was sent, so nothing can happen twice."""
LEASE_MARGIN = 60.0
"""Seconds beyond its time-outs after which a call that nobody ended is taken for forgotten."""
_MAX_HEADER = 4096
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}")
_AGENT = f"tidegate/{gateway.__version__}"


class HttpUpstream:
    """A `core.ports.Upstream` over HTTP. Its in-flight counts are zero again when all replies are closed."""

    def __init__(
        self,
        name: str,
        profile: Profile,
        dialect: Dialect,
        endpoints: Endpoints,
        http: HttpClient,
        *,
        auth: Sequence[tuple[str, str]] = (),
        signer: Signer | None = None,
        ask: Ask = plain,
    ) -> None:
        """`ask`: what the rule of `endpoints` must know of a request."""
        self.name = name
        self.trusted = profile.trust == "internal"
        self.endpoints = endpoints
        self._profile = profile
        self._dialect = dialect
        self._http = http
        self._ask = ask
        self._params = profile.params.table()
        self._fixed = {**{name.lower(): value for name, value in profile.headers.items()}, **dict(auth)}
        self._signer = signer
        self._paths = Paths(profile.paths, profile.query)
        self._forward = tuple(name.lower() for name in profile.forward)

    async def open(
        self,
        request: Request,
        target: Target,
        timeouts: Timeouts,
        *,
        traceparent: str,
        headers: Mapping[str, str],
        affinity: str = "",
        tenant: str = "",
        turn: int = 0,
        chose: Callable[[str, str], None] = lambda _label, _why: None,
    ) -> Reply:
        """See `core.ports.Upstream`. Raises the dialect's fault for an error status, UpstreamTimeout, UpstreamFailed, or
        BadRequest for an operation this provider does not have; tokens that it cannot count are estimated here."""
        if request.operation in COUNTS and request.operation not in self._profile.operations:
            return CountedHere(request)
        call = self._call(request, target)
        path = self._paths.of(request.operation, target.model, call.path, call.stream)
        sent = self._headers(call, traceparent, headers)
        several = len(self.endpoints.all) > 1
        asked = self._ask(request, target, affinity, tenant, turn) if several else NOTHING
        lasts, whole = timeouts.total + LEASE_MARGIN, not call.stream
        tried: set[Endpoint] = set()
        fault: GatewayFault = UpstreamFailed("No endpoint of the upstream can be reached.")
        lease = self.endpoints.lease(asked, tried, lasts=lasts, whole=whole)
        while lease is not None:
            ok: bool | None = None
            handed_over = False
            chose(lease.endpoint.label, lease.picked)
            try:
                reply = await self._converse(request, call, path, lease, sent, timeouts)
                handed_over = True
                return reply
            except HttpError as error:
                fault = fault_of(error, streaming=False)
                ok = says_of_health(fault)
                tried.add(lease.endpoint)
                if not isinstance(error, ConnectFailed) or len(tried) >= MAX_TRIED:
                    raise fault from None
            except GatewayFault as refused:
                ok = says_of_health(refused)
                if isinstance(refused, UpstreamLimited) or refused.retry_after is not None:
                    lease.refused(refused.retry_after)
                refused.elsewhere = self.endpoints.another(lease.endpoint)
                raise
            finally:
                if not handed_over:
                    lease.end(ok)
            lease = self.endpoints.lease(asked, tried, lasts=lasts, whole=whole)
        raise fault

    def __repr__(self) -> str:
        return f"HttpUpstream({self.name!r})"

    def _call(self, request: Request, target: Target) -> Call:
        operation = request.operation
        profile = self._profile
        if request.passing is not None:
            if operation not in profile.operations:
                raise relayed.not_offered(operation, self.name)
            return relayed.call_of(request, request.passing, target)
        if operation not in profile.operations:
            raise BadRequest(f"The provider of this model does not offer {operation}.", param="model")
        return self._dialect.call(request, target, request.stream or profile.stream.always, self._params)

    def _headers(self, call: Call, traceparent: str, client: Mapping[str, str]) -> list[tuple[str, str]]:
        """The dialect's, over them what the client may pass on, over all the profile's and the credential. The client's
        credentials, cookies and hop-by-hop headers are on no list, so they cannot get here."""
        headers = dict(call.headers)
        headers.pop("accept-encoding", None)  # the HTTP client's to say
        for name in self._forward:
            value = client.get(name)
            if value is not None and _plain(value):
                headers[name] = value
        agent = client.get("user-agent", "")[:128]
        headers["user-agent"] = f"{_AGENT} {agent}" if agent and _plain(agent) else _AGENT
        if traceparent:
            headers["traceparent"] = traceparent
        headers.update(self._fixed)
        return list(headers.items())

    async def _converse(
        self,
        request: Request,
        call: Call,
        path: str,
        lease: Lease,
        headers: Sequence[tuple[str, str]],
        timeouts: Timeouts,
    ) -> Reply:
        """One exchange with one endpoint up to a good head. Every other way out has ended the reply."""
        now = asyncio.get_running_loop().time()
        ends = now + timeouts.total
        endpoint = lease.endpoint
        deadline = min(ends, now + timeouts.ttft) if call.stream else ends
        try:
            send = self._send if self._signer is None else self._signed
            http = await send(call, endpoint.url + path, headers, timeouts, deadline)
        except ReadTimeout:
            raise _late(call, timeouts) from None
        try:
            if request.passing is not None:

                async def again(page: str) -> HttpReply:
                    page = self._paths.of(request.operation, "", page)
                    return await send(call, endpoint.url + page, headers, timeouts, ends)

                return await self._passed(http, request.passing, lease, timeouts, ends, again)
            await self._check(http, call)
            if not call.stream:  # the head comes when the answer is whole
                lease.answered()
            return UpstreamReply(
                http,
                self._dialect.inlet(request, call.stream),
                endpoint=endpoint.label,
                upstream_id=self._upstream_id(http.headers),
                streaming=call.stream,
                timeouts=timeouts,
                ends=ends,
                finish_reasons=self._profile.finish_reasons,
                on_content=lease.answered,
                on_usage=lease.usage,
                on_end=lease.end,
            )
        except BaseException:
            await http.aclose()
            raise

    async def _passed(
        self, http: HttpReply, passing: Passing, lease: Lease, timeouts: Timeouts, ends: float, again: relayed.Again
    ) -> Reply:
        if not 200 <= http.status < 300:
            raise relayed.refused(await self._refused(http), http.status, passing)
        lease.answered()
        return relayed.RelayReply(
            http,
            endpoint=lease.endpoint.label,
            upstream_id=self._upstream_id(http.headers),
            timeouts=timeouts,
            ends=ends,
            on_end=lease.end,
            pages=passing.pages,
            again=again,
        )

    async def _send(
        self, call: Call, url: str, headers: Sequence[tuple[str, str]], timeouts: Timeouts, deadline: float
    ) -> HttpReply:
        return await self._http.send(
            call.method,
            url,
            headers,
            call.body if call.sending is None else call.sending,
            connect_timeout=min(timeouts.connect, timeouts.total),
            read_timeout=timeouts.total,
            deadline=deadline,
        )

    async def _signed(
        self, call: Call, url: str, headers: Sequence[tuple[str, str]], timeouts: Timeouts, deadline: float
    ) -> HttpReply:
        """As `_send`, with what the signer adds."""
        assert self._signer is not None, "only called where there is one"

        async def send(more: Sequence[tuple[str, str]]) -> HttpReply:
            return await self._send(call, url, more, timeouts, deadline)

        return await send_signed(self._signer, call, url, headers, deadline, send)

    async def _check(self, http: HttpReply, call: Call) -> None:
        """Raises the fault of a head that is not good."""
        if not 200 <= http.status < 300:
            refused = await self._refused(http)
            refused.upstream_status = http.status
            raise refused
        _check_type(http.headers.get("content-type", ""), call)

    async def _refused(self, http: HttpReply) -> GatewayFault:
        """The fault of an error reply, from at most 64 KiB of its body. A body that breaks off tells less, no more."""
        if 300 <= http.status < 400:
            return UpstreamFailed(
                f"The upstream answered with a redirect (HTTP {http.status}), which is not followed; its base_url is wrong."
            )
        http.read_timeout = ERROR_BODY_SECONDS
        http.deadline = min(http.deadline, asyncio.get_running_loop().time() + ERROR_BODY_SECONDS)
        body = b""
        try:
            while len(body) < MAX_ERROR_BODY:
                data = await http.read()
                if not data:
                    break
                body += data
        except HttpError:
            pass
        body = body[:MAX_ERROR_BODY]
        fault = self._dialect.fault(http.status, http.headers, body)
        return overridden(fault, self._profile.errors, http.status, body)

    def _upstream_id(self, headers: Mapping[str, str]) -> str:
        for name in self._profile.request_id:
            value = headers.get(name)
            if value:
                return value[:128] if _plain(value) else ""
        return ""


def _plain(value: str) -> bool:
    return len(value) <= _MAX_HEADER and value.isascii() and value.isprintable()


def _late(call: Call, timeouts: Timeouts) -> UpstreamTimeout:
    if call.stream and timeouts.ttft < timeouts.total:
        return UpstreamTimeout(f"The upstream gave no token within {timeouts.ttft:g} s.", clock="ttft")
    return UpstreamTimeout(f"The upstream's answer was not whole within {timeouts.total:g} s.", clock="total")


def _check_type(content_type: str, call: Call) -> None:
    """Raises UpstreamFailed for what is neither JSON nor, where one was asked for, the event stream that the call accepts.
    JSON is let through in place of a stream: some servers ignore `stream`, and the inlet can tell. No type at all is let
    through, too."""
    if not content_type:
        return
    media = content_type.partition(";")[0].strip().lower()
    if media == "application/json" or media.endswith("+json") or (call.stream and media == call.headers.get("accept")):
        return
    shown = media if _MEDIA_TYPE.fullmatch(media) else "something else"
    wanted = "an event stream" if call.stream else "JSON"
    raise UpstreamFailed(f"The upstream answered with {shown} instead of {wanted}; is its base_url right?")
