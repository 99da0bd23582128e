"""Settings of the gateway."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta

from kernel.settings import Settings

Port = Annotated[int, Meta(ge=1, le=65535)]


class GatewaySettings(Settings, frozen=True, kw_only=True):
    """How the gateway listens, whom it trusts, and what it refuses."""

    host: str = "127.0.0.1"
    """The address on which the API listens."""
    port: Port = 8000
    """The port of the API; several gateway processes share it."""
    internal_host: str = "127.0.0.1"
    """The address of the internal listener, which nobody outside should reach."""
    internal_port: Port = 9090
    """The port of the internal listener: ``/metrics``, ``/health``, ``/ready`` with details."""
    cors_origins: tuple[Annotated[str, Meta(pattern=r"^https?://[^/*\s]+$")], ...] = ()
    """The origins whose pages may call the API with credentials, such as ``https://shop.example``."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks, such as ``10.0.0.0/8``, whose ``X-Forwarded-For`` names the caller's address."""
    body_limit: Annotated[int, Meta(ge=1024)] = 10_000_000
    """The largest request body in bytes; what is larger is refused with 413."""
    body_timeout: timedelta = timedelta(seconds=30)
    """How long a caller may take to send a body."""
    compress_from: Annotated[int, Meta(ge=0)] = 1024
    """Answers of at least this many bytes are compressed for callers who accept gzip."""
    issuer: str = "realserv"
    """The issuer that access tokens must name; it is the same text as in identity."""
    jwks_query: str = "identity.get_public_keys"
    """The query that gives the public keys of access tokens, without its version."""
    keys_refresh: timedelta = timedelta(minutes=10)
    """How old the public keys may grow before they are asked for again."""
    verified_tokens: Annotated[int, Meta(ge=1)] = 20_000
    """How many verified access tokens a process remembers."""
    bus_token_reuse: timedelta = timedelta(minutes=1)
    """How long a signed bus token serves the same access token; shorter than a bus token's life."""
    live_heartbeat: timedelta = timedelta(seconds=15)
    """How often a live stream asks again, and shows that it is alive, when no bell rings."""
    live_streams: Annotated[int, Meta(ge=1)] = 2000
    """How many live streams one process holds open at once."""
    stop_within: timedelta = timedelta(seconds=8)
    """How long requests in flight may take to finish when the process stops."""
    backlog: Annotated[int, Meta(ge=128)] = 4096
    """How many connections may wait, and how many may be open, in one process."""
