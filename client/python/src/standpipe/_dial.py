"""Addresses, credentials and the options of connections."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, Tuple, Union

import grpc

APPEND = "/standpipe.v1.Ingest/Append"
APPEND_STREAM = "/standpipe.v1.Ingest/AppendStream"

Token = Union[str, Callable[[], str], None]
Metadata = Sequence[Tuple[str, str]]

_OPTIONS: List[Tuple[str, int]] = [
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    # An agent that starts again is found soon.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # An agent that owes a response is probed after 30 s, and has 10 s to respond to the probe.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]


@dataclass(frozen=True)
class TLS:
    """The TLS of a connection. The files' contents are PEM."""

    ca: Optional[bytes] = None
    """The CAs of the agent's certificate. None: the ones that gRPC has."""
    certificate: Optional[bytes] = None
    """The client certificate, with its chain."""
    key: Optional[bytes] = None
    """The private key of the client certificate."""
    server_name: Optional[str] = None
    """The name that the agent's certificate must have. None: the host of the address."""


def target(address: str) -> tuple[str, bool]:
    """gRPC's name of an address, and whether the traffic stays on this host."""
    if address.startswith("unix:///"):
        return address, True
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        raise ValueError(f"address {address!r}: host:port and unix:///path are allowed")
    try:
        local = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        local = host == "localhost"
    return address, local


class Dial:
    """The connection's settings, checked."""

    def __init__(self, address: str, token: Token, tls: Optional[TLS]) -> None:
        self.name, local = target(address)
        if token is not None and tls is None and not local:
            raise ValueError(f"dial {address}: a token without TLS is for this host only")
        self._token = token
        self.options = list(_OPTIONS)
        self.credentials: Optional[grpc.ChannelCredentials] = None
        if tls is not None:
            self.credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)
            if tls.server_name is not None:
                self.options.append(("grpc.ssl_target_name_override", tls.server_name))  # type: ignore[arg-type]

    def metadata(self) -> Metadata:
        """The metadata of a call, with the token of now."""
        token = self._token() if callable(self._token) else self._token
        return (("authorization", "Bearer " + token),) if token is not None else ()
