"""Events, and their form on the wire."""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass, field
from typing import Mapping, Union

Data = Union[bytes, bytearray, memoryview, str]
Time = Union[datetime.datetime, int, None]


class Ack(enum.IntEnum):
    """How far events must have come before they are answered."""

    DEFAULT = 0
    """The stream's level: DURABLE unless configured otherwise."""
    ACCEPTED = 1
    """In the agent's memory: a crash may lose it, and the offset is not known."""
    DURABLE = 2
    """Synced to the agent's disk."""
    DELIVERED = 3
    """Settled by every destination of the stream."""


@dataclass(frozen=True)
class Event:
    """One entry of a stream."""

    key: str
    """The partition key, 1 to 256 Unicode characters: events of one key stay in order."""
    data: Data
    """Passed on as it is; a str as UTF-8. Whether it has to be a line, or JSON, is up to the stream's format."""
    time: Time = None
    """When it happened: a datetime with a time zone, or nanoseconds since 1970. None: the agent's clock at receipt."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """A few tags beside the data."""

    def encode(self) -> bytes:
        return encode(self.key, self.data, self.time, self.attributes)


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_MICROSECOND = datetime.timedelta(microseconds=1)

# The wire form of proto/standpipe/v1/standpipe.proto is written by hand: it takes a third of the time of messages. A test
# compares the two.
_EVENTS, _KEY, _DATA, _TIME, _ATTRIBUTES = b"\x12", b"\x0a", b"\x12", b"\x18", b"\x22"
_NAME, _VALUE = b"\x0a", b"\x12"
_STREAM, _ACK, _PRODUCER, _SEQUENCE = b"\x0a", b"\x18", b"\x22", b"\x28"


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


_VARINTS = [_varint(n) for n in range(1 << 11)]


def varint(n: int) -> bytes:
    return _VARINTS[n] if n < 1 << 11 else _varint(n)


def nanoseconds(time: Time) -> int:
    """The wire form of an event's time."""
    if time is None:
        return 0
    if isinstance(time, datetime.datetime):
        if time.tzinfo is None:
            raise ValueError(f"time {time.isoformat()} has no time zone; allowed is a datetime with one, or nanoseconds since 1970")
        return (time - _EPOCH) // _MICROSECOND * 1000
    return time


def encode(key: str, data: Data, time: Time = None, attributes: Mapping[str, str] | None = None) -> bytes:
    """The bytes of an event in an AppendRequest."""
    k = key.encode()
    d = data if type(data) is bytes else data.encode() if isinstance(data, str) else bytes(data)
    body = b"%b%b%b%b%b%b" % (_KEY, varint(len(k)), k, _DATA, varint(len(d)), d)
    if time is not None:
        body += _TIME + _varint(nanoseconds(time) & 0xFFFF_FFFF_FFFF_FFFF)
    if attributes:
        for name, value in attributes.items():
            n, v = name.encode(), value.encode()
            pair = b"%b%b%b%b%b%b" % (_NAME, varint(len(n)), n, _VALUE, varint(len(v)), v)
            body += _ATTRIBUTES + varint(len(pair)) + pair
    return b"%b%b%b" % (_EVENTS, varint(len(body)), body)


def request(stream: str, events: bytes, ack: int, producer: str, sequence: int) -> bytes:
    """The bytes of an AppendRequest. The events are those of encode, one after another."""
    s, p = stream.encode(), producer.encode()
    out = [_STREAM, varint(len(s)), s, events]
    if ack:
        out += [_ACK, varint(ack)]
    if p:
        out += [_PRODUCER, varint(len(p)), p, _SEQUENCE, _varint(sequence)]
    return b"".join(out)


def decode(encoded: bytes) -> Event:
    """The inverse of encode, for events that were rejected."""
    from standpipe.v1 import standpipe_pb2 as pb

    e = pb.AppendRequest.FromString(encoded).events[0]
    return Event(e.partition_key, e.data, e.time_unix_nano or None, dict(e.attributes))
