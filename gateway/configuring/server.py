"""The `server:` section of the configuration."""

from __future__ import annotations

import msgspec

from gateway.core.secret import Secret
from gateway.core.units import Duration, Size


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    max_body: Size = Size(10 * 1024 * 1024)
    max_upload: Size = Size(512 * 1024 * 1024)
    """Of a body that is passed on as it comes: files, sound, pictures."""
    body_timeout: Duration = Duration(30.0)
    """For a whole request body to arrive."""
    header_timeout: Duration = Duration(10.0)
    """For a request's headers to arrive."""
    write_timeout: Duration = Duration(60.0)
    """How long a client may take nothing of what is sent to it before it counts as gone."""
    timeout: Duration = Duration(600.0)
    """For a whole exchange; a client may ask for less."""
    keepalive: Duration = Duration(15.0)
    """Silence after which a streaming client gets a sign of life, and status 200 with it; 0: never. A model may say its
    own."""
    drain: Duration = Duration(30.0)
    """For open exchanges to end after SIGTERM."""
    drain_notice: Duration = Duration(0.0)
    """Between `/readyz` turning 503 and the socket closing."""
    secret: Secret | None = None
    """Keys the hashes in caches and telemetry. Give the same to all replicas that share Redis or Qdrant; absent: the
    variable TIDEGATE_SECRET, else a random one for this start."""
