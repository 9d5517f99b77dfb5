"""The stage that turns what is to be relayed into a request: reads what it must of the body, and opens the ids in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from gateway.core.answer import Answer
from gateway.core.errors import BadRequest, Forbidden
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.passing import Passing
from gateway.core.request import Body, Request, Slot
from gateway.dialects.openai_extra import NAME
from gateway.dialects.reading import model_of, wrong
from gateway.relay.body import Form, Incoming, form_of, named
from gateway.relay.ids import Ids
from gateway.relay.operations import Relayed
from gateway.relay.pages import Pages
from gateway.relay.seal import Use

DESCRIBING = ("content-type", "accept", "range", "if-range")
"""Headers of the client's that describe the body, or what is wanted."""
_MOST_METADATA = 15


class Wire(msgspec.Struct, frozen=True):
    """What the edge knows of a request before it is read."""

    row: Relayed
    id: str
    """In the path; empty: none."""
    query: str
    incoming: Incoming


class Decode(Protocol):
    def __call__(self, data: bytes) -> Body:
        """A JSON object. Raises `BadRequest`."""
        ...


WIRE: Key[Wire] = Key("relay wire")


class Receive:
    """Decider `receive`. After it the request is there, with `passing`."""

    name = "receive"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = (WIRE,)

    def __init__(self, ids: Ids, decode: Decode, hold: int) -> None:
        """`hold`: bytes of a form that are kept while the model's name is looked for."""
        self._ids = ids
        self._decode = decode
        self._hold = hold

    async def decide(self, exchange: Exchange) -> Answer | None:
        wire = exchange.facts.get(WIRE)
        assert wire is not None, "the edge says what is asked"
        row = wire.row
        if row.operation == "batches" and exchange.principal.models is not None:
            raise Forbidden("This key may use certain models only, and a batch may name any model of the provider.")
        asked = _Asked(self._ids, exchange, wire)
        form = row.form
        if (
            form == "multipart"
            and row.texts
            and exchange.headers.get("content-type", "").startswith("application/json")
        ):
            form = "json"
        if form == "json":
            await self._json(exchange, asked)
        elif form == "multipart":
            await self._form(exchange, asked)
        exchange.request = asked.request()
        return None

    async def _json(self, exchange: Exchange, asked: _Asked) -> None:
        data = await exchange.read_body()
        exchange.bytes_in += len(data)
        body = asked.body = self._decode(data or b"{}")
        row = asked.wire.row
        if row.model:
            asked.model = model_of(body)
            for name in row.texts:
                if body.get(name) is not None or name == row.texts[0]:
                    if type(body.get(name)) is not str:
                        raise wrong(name, "a string", body.get(name))
                    asked.slots.append(Slot("user", "text", 0, body, name, name))
        else:
            asked.read_ids(body)

    async def _form(self, exchange: Exchange, asked: _Asked) -> None:
        wire = asked.wire
        row, incoming = wire.row, wire.incoming
        fields = frozenset({"model"} if row.model else ())
        form = asked.upload = form_of(incoming, exchange.headers.get("content-type", ""), fields)
        if row.model:
            if not await form.hold(lambda scan: scan.field("model") is not None, self._hold):
                self._missing(form)
            asked.model = named(form, "model")
        elif row.path == "/files":
            await form.hold(lambda scan: any(part.filenames for part in scan.parts), self._hold)
            for at in form.first_file():
                form.put(at, at, asked.ids.mark_name(exchange).encode())

    def _missing(self, form: Form) -> None:
        if form.ended:
            raise BadRequest("model is missing from the form.", param="model")
        raise BadRequest(
            f"model was not found in the first {self._hold} bytes of the form; send it before the file, or raise "
            "server.max_body.",
            param="model",
        )


class _Asked:
    """One request, put together."""

    def __init__(self, ids: Ids, exchange: Exchange, wire: Wire) -> None:
        self.ids = ids
        self.wire = wire
        self._exchange = exchange
        self.body: Body = {}
        self.model = ""
        self.slots: list[Slot] = []
        self.upload: Form | None = None
        self._words: dict[str, str] = {}
        self._provider = ""
        self._pages: Pages | None = None
        self._path = wire.row.path
        if wire.id:
            self._path = self._path.replace("{id}", quote(self._open(wire.id), safe=""))
        self._query = self._opened_query()

    def read_ids(self, body: Body) -> None:
        """Puts the provider's own ids in place of ours, and our mark where what is made would not show whose it is."""
        for name in ("input_file_id",):
            if type(body.get(name)) is str:
                body[name] = self._open(body[name])
        parts = body.get("part_ids")
        if type(parts) is list:
            body["part_ids"] = [self._open(part) if type(part) is str else part for part in parts]
        if self.wire.row.path == "/uploads" and type(body.get("filename")) is str:
            body["filename"] = self.ids.mark_name(self._exchange) + body["filename"]
        if self.wire.row.path == "/batches":
            metadata = body.get("metadata")
            if metadata is not None and (type(metadata) is not dict or len(metadata) > _MOST_METADATA):
                raise BadRequest(f"metadata must be an object of at most {_MOST_METADATA} pairs.", param="metadata")
            body["metadata"] = {**(metadata or {}), **self.ids.mark_metadata(self._exchange)}

    def request(self) -> Request:
        row, headers = self.wire.row, self._exchange.headers
        passing = Passing(
            method=row.method,
            path=self._pages.first if self._pages is not None else self._path + self._query,
            headers=_describing(headers, json=self.upload is None),
            upload=self.upload,
            answers=row.answers,
            pages=self._pages,
            words=tuple(self._words.items()),
            provider=self._provider,
        )
        return Request(
            dialect=NAME,
            operation=row.operation,
            body=self.body,
            model=self.model,
            stream=False,
            include_usage=False,
            slots=self.slots,
            passing=passing,
        )

    def _open(self, sealed: str, *uses: Use) -> str:
        provider, raw = self.ids.seals.open(sealed, self._exchange.principal, ("id", *uses))
        if self._provider not in ("", provider):
            raise BadRequest("The request names things that are kept by different providers.")
        self._provider = provider
        self._words[raw] = sealed
        return raw

    def _opened_query(self) -> str:
        """Of lists, the provider is asked for as much as it gives at once: much of it may be other clients'."""
        try:
            given = parse_qsl(self.wire.query, keep_blank_values=True, max_num_fields=32)
        except ValueError:
            raise BadRequest("The query has more than 32 fields.") from None
        row, most = self.wire.row, self.wire.row.entries
        out = []
        for name, value in given:
            if name == "limit" and row.page:
                if not (value.isascii() and value.isdigit() and 0 < int(value) <= 10_000):
                    raise BadRequest("limit must be a whole number from 1 to 10000.", param="limit")
                most = int(value)
            else:
                out.append((name, self._open(value, "cursor") if name == "after" else value))
        if row.page:
            exchange, query = self._exchange, [*out, ("limit", str(row.page))]
            self._pages = Pages(self._path, query, most, lambda item: self.ids.owns(item, exchange))
        return f"?{urlencode(out)}" if out else ""


def _describing(headers: Mapping[str, str], *, json: bool) -> dict[str, str]:
    kept = {name: headers[name] for name in DESCRIBING if name in headers}
    if json:
        kept["content-type"] = "application/json"
    return kept
