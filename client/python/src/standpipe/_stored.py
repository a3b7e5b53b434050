"""The response to a request."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.protobuf.message import DecodeError

from standpipe._event import Ack
from standpipe.errors import AgentError
from standpipe.v1 import standpipe_pb2 as pb


@dataclass(frozen=True)
class Stored:
    """The place of a stored batch."""

    first: int
    """The stream's offset of the first event; 0: not known. Offsets count from 1 and have no gaps."""
    count: int
    ack: Ack
    """The level that was reached."""
    duplicate: bool
    """Whether the batch had been stored before."""


def stored_of(response: bytes) -> Stored:
    """Decodes an AppendResponse. Errors: AgentError, which a publisher retries; any other would end its thread."""
    try:
        m = pb.AppendResponse.FromString(response)
        return Stored(m.first_offset, m.count, Ack(m.ack), m.duplicate)
    except (DecodeError, ValueError) as e:
        raise AgentError(grpc.StatusCode.INTERNAL, f"the response of {len(response)} bytes cannot be decoded: {e}") from e
