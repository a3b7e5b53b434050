"""Sends events to a standpipe agent.

    with standpipe.Client("127.0.0.1:7710") as client:
        with client.publisher("clicks") as publisher:
            for line in lines:
                publisher.publish(line.user, line.json)

    # every event is on the agent's disk here

Client.append is one request and its response. A Publisher sends events fast, in the background. standpipe.aio has the same for
asyncio.
"""

from standpipe._client import Client, Publisher, Receipt
from standpipe._dial import TLS
from standpipe._event import Ack, Event
from standpipe._outbox import PublisherOptions
from standpipe._stored import Stored
from standpipe.errors import NO_EVENT, AgentError, BufferFull, Closed, GivenUp, NotStored, StandpipeError, Unanswered

__all__ = [
    "Ack",
    "AgentError",
    "BufferFull",
    "Client",
    "Closed",
    "Event",
    "GivenUp",
    "NO_EVENT",
    "NotStored",
    "Publisher",
    "PublisherOptions",
    "Receipt",
    "StandpipeError",
    "Stored",
    "TLS",
    "Unanswered",
]
