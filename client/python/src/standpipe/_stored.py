"""The response to a request."""

from __future__ import annotations

from dataclasses import dataclass

from standpipe._event import Ack
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
    m = pb.AppendResponse.FromString(response)
    return Stored(m.first_offset, m.count, Ack(m.ack), m.duplicate)
