"""The state of a publisher: what waits, what is sent, what comes next. It does no I/O and has no locks: the publishers of the
sync and the asyncio client call it under theirs."""

from __future__ import annotations

import dataclasses
import logging
import random
import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import Callable, Deque, List, Optional

import grpc

from standpipe import _event, errors
from standpipe._event import Ack, Event

logger = logging.getLogger("standpipe")

_MAX_WINDOW = 256  # below the number of runs that the agent keeps of a producer

# How long a stream that is not admitted is opened again before events are rejected. It exceeds the second in which an agent
# notices a changed token file.
_ADMISSION_PATIENCE = 3.0


@dataclass(frozen=True)
class PublisherOptions:
    """The batches and retries of a publisher. Times are in seconds, sizes in bytes."""

    ack: Ack = Ack.DEFAULT
    batch_events: int = 1000
    """A request goes out when it has so many events,"""
    batch_bytes: int = 256 << 10
    """or so many bytes,"""
    linger: float = 0.001
    """or when this time has passed since its first event."""
    window: int = 64
    """The most requests in flight, at most 256."""
    max_buffered: int = 16 << 20
    """The most bytes of events that wait for their responses. Without room, publish waits."""
    retry_initial: float = 0.1
    """The longest wait after a first failure,"""
    retry_max: float = 5.0
    """and after many."""
    give_up: float = 0.0
    """How long events may wait without any response before they are given up. 0: without end."""
    on_refused: Optional[Callable[[Event, Exception], None]] = None
    """Called with each event that was rejected or given up. It must not call the publisher."""
    on_state: Optional[Callable[[Optional[Exception]], None]] = None
    """Called with an error when the agent takes no events, and with None when it takes them again; the logger "standpipe" gets a line
    at the same times. It must not call the publisher."""

    def __post_init__(self) -> None:
        for name in ("batch_events", "batch_bytes", "window", "max_buffered", "retry_initial", "retry_max"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is more than 0")
        for name in ("linger", "give_up"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is 0 or more")
        if self.window > _MAX_WINDOW:
            raise ValueError(f"window is {self.window}; allowed is at most {_MAX_WINDOW}")


class Batch:
    """A run of events that were published one after another."""

    __slots__ = ("events", "size", "weight", "born", "left", "first", "results", "waiters")

    def __init__(self, born: float) -> None:
        self.events: List[bytes] = []  # encoded
        self.size = 0
        self.weight = 0
        self.born = born
        self.left = 0  # events without a result
        self.first = 0  # the offset of the first event, if all were stored by one request
        self.results: Optional[dict[int, int | Exception]] = None  # if not
        self.waiters: List[Callable[[], None]] = []

    def settle(self, start: int, end: int, result: int | Exception) -> None:
        """Gives the events their results: the offset of the first of them, or an error."""
        if start == 0 and end == len(self.events) and isinstance(result, int):
            self.first = result
        else:
            if self.results is None:
                self.results = {}
            for i in range(start, end):
                if isinstance(result, int):
                    self.results[i] = result + i - start if result else 0
                else:
                    self.results[i] = result
        self.left -= end - start

    def result(self, index: int) -> int:
        """The offset of an event. It raises the event's error."""
        if self.results is None:
            return self.first + index if self.first else 0
        result = self.results[index]
        if isinstance(result, Exception):
            raise result
        return result


class Request:
    """The unit on the wire: the events [start, end) of a batch."""

    __slots__ = ("batch", "start", "end")

    def __init__(self, batch: Batch, start: int, end: int) -> None:
        self.batch, self.start, self.end = batch, start, end

    def __len__(self) -> int:
        return self.end - self.start

    def without(self, start: int, end: int) -> List[Request]:
        """The rest without the events [start, end) of the batch."""
        rest = [Request(self.batch, self.start, start), Request(self.batch, end, self.end)]
        return [r for r in rest if len(r) > 0]


class Outbox:
    """The events of a publisher that have no response yet."""

    def __init__(self, stream: str, options: PublisherOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.o, self._clock = stream, options, clock
        self.buffered = 0
        self.closing = False
        self.last: Optional[Exception] = None  # the end of the last stream; None once something was answered since
        self._open: Optional[Batch] = None
        self._queue: Deque[Request] = deque()  # the oldest first; the first _sent of them are on the stream that is open
        self._sent = 0
        self._window = 1
        self._sequence = 1  # of the next request
        self._answers = 0  # since the stream was opened
        self._progress = clock()
        self._admitted = False
        self._unadmitted: Optional[float] = None
        self._refused = 0
        self._first_refusal: Optional[Exception] = None
        self._backoff = options.retry_initial
        self._outage: Optional[float] = None
        self._renew()

    def _renew(self) -> None:
        """Makes the publisher another producer, whose numbering begins anew."""
        self.producer = secrets.token_hex(13)
        self._base = 1  # the sequence of the first event of the queue
        self._doubt = 0  # events below it may be stored, though they were not answered

    # Publishing.

    def fits(self, weight: int) -> bool:
        return self.buffered + weight <= self.o.max_buffered

    def check(self, weight: int) -> None:
        """Raises the error of an event that never fits."""
        if weight > self.o.max_buffered:
            raise ValueError(f"publish to {self.stream}: an event takes {weight} bytes of a buffer of {self.o.max_buffered}")

    def add(self, encoded: bytes, weight: int) -> tuple[Batch, int, bool]:
        """Adds an event and returns its place, and whether a sender that sleeps has something new to do."""
        if self.closing:
            raise errors.Closed(f"publish to {self.stream}: the publisher is closed")
        b, news = self._open, False
        if b is not None and b.size + len(encoded) > self.o.batch_bytes:
            self.cut()
            b, news = None, True
        if b is None:
            b = self._open = Batch(self._clock())
            if not self._queue:
                self._progress = b.born
            news = True
        b.events.append(encoded)
        b.size += len(encoded)
        b.weight += weight
        b.left += 1
        self.buffered += weight
        index = len(b.events) - 1
        if index + 1 >= self.o.batch_events or b.size >= self.o.batch_bytes:
            self.cut()
            news = True
        return b, index, news

    def cut(self) -> None:
        """Puts the open batch into the queue."""
        if self._open is not None:
            self._queue.append(Request(self._open, 0, len(self._open.events)))
            self._open = None

    def last_batch(self) -> Optional[Batch]:
        """Cuts, and returns the last batch without its results; None: there is none."""
        self.cut()
        return self._queue[-1].batch if self._queue else None

    @property
    def waiting(self) -> bool:
        return self._open is not None or bool(self._queue)

    @property
    def unanswered(self) -> int:
        return sum(len(r) for r in self._queue) + (len(self._open.events) if self._open else 0)

    def refusals(self, verb: str) -> Optional[errors.NotStored]:
        """The rejections since the last call."""
        count, first = self._refused, self._first_refusal
        self._refused, self._first_refusal = 0, None
        if count == 0:
            return None
        what = "1 event was not stored" if count == 1 else f"{count} events were not stored, the first"
        e = errors.NotStored(f"{verb} {self.stream}: {what}: {first}", count)
        e.__cause__ = first
        return e

    def unfinished(self, verb: str) -> errors.Unanswered:
        """The error of a flush or close that ends before the responses."""
        tail = "" if self.last is None else f"; the last try: {self.last}"
        return errors.Unanswered(f"{verb} {self.stream}: {self.unanswered} events have no response{tail}")

    # Sending.

    def rewind(self) -> None:
        """Begins a stream: all requests without a response are sent again. The stream has one request in flight at first, and twice
        as many after each response: if the first is rejected, little was sent in vain."""
        self._sent, self._answers, self._window = 0, 0, 1
        self._sequence = self._base

    def next(self) -> tuple[Optional[bytes], Optional[float], bool]:
        """The request to send, or the time to wait for one (None: until add or answered), and whether all is sent and the publisher
        closed."""
        if self._sent >= self._window:
            return None, None, False
        if self._sent == len(self._queue):
            if self._open is None:
                return None, None, self.closing
            wait = self._open.born + self.o.linger - self._clock()
            if wait > 0 and not self.closing:
                return None, wait, False
            self.cut()
        r = self._queue[self._sent]
        self._sent += 1
        sequence = self._sequence
        self._sequence += len(r)
        events = b"".join(r.batch.events[r.start : r.end])
        return _event.request(self.stream, events, self.o.ack, self.producer, sequence), None, False

    def answered(self, count: int, first: int) -> List[Batch]:
        """Settles the oldest request, and returns its batch if it was the last of it."""
        if self._sent == 0 or count != len(self._queue[0]):
            raise errors.AgentError(
                grpc.StatusCode.INTERNAL, f"the response is for {count} events; {self._sent} requests have no response"
            )
        r = self._queue.popleft()
        self._sent -= 1
        self._base += len(r)
        self._answers += 1
        self._window = min(2 * self._window, self.o.window)
        self._progress, self.last = self._clock(), None
        self._admitted, self._unadmitted = True, None
        if self._outage is not None:
            logger.info("the agent takes events of stream %s again, after %.1f s", self.stream, self._clock() - self._outage)
            self._outage = None
            self._state(None)
        return self._settle(r, r.start, r.end, first)

    def _settle(self, r: Request, start: int, end: int, result: int | Exception) -> List[Batch]:
        if isinstance(result, Exception):
            if self._refused == 0:
                self._first_refusal = result
            self._refused += end - start
        b = r.batch
        b.settle(start, end, result)
        if b.left > 0:
            return []
        self.buffered -= b.weight
        b.events = []
        return [b]

    # After the end of a stream.

    def conclude(self, e: errors.AgentError) -> tuple[float, List[Batch]]:
        """Decides the next step after the end of a stream: the delay before the next one, and the batches that are settled."""
        self._doubted(e)
        if not self._queue:
            self.cut()
        if not self._queue:
            return 0.0, []
        r = self._queue[0]
        if e.code is grpc.StatusCode.INVALID_ARGUMENT and e.reason == "sequence":
            # The agent has lost its state of this producer, or events that it had acknowledged from memory.
            self._renew()
            return self._pause(e), []
        if not e.final or e.unadmitted and self._may_be_admitted():
            return self._pause(e), []
        if e.code is not grpc.StatusCode.INVALID_ARGUMENT and not e.too_large or e.reason == "no_stream":
            settled = []
            for refused in list(self._queue)[: max(self._sent, 1)]:
                settled += self._refuse(refused, refused.start, refused.end, e)
            return 0.0, settled
        if 0 <= e.event < len(r):
            at = r.start + e.event
            return 0.0, self._refuse(r, at, at + 1, e.alone())
        if len(r) > 1:  # find the faulty event, or make the request fit
            middle = r.start + len(r) // 2
            self._replace([Request(r.batch, r.start, middle), Request(r.batch, middle, r.end)])
            return 0.0, []
        return 0.0, self._refuse(r, r.start, r.end, e)

    def _doubted(self, e: errors.AgentError) -> None:
        """Notes up to where events without a response may be stored. A rejection by the agent leaves no doubt: it stores no events
        that were sent after the rejected ones. A rejection by a proxy does."""
        if self._sent == 0 or e.final and (e.reason or e.too_large):
            return
        end = self._base + sum(len(r) for r in list(self._queue)[: self._sent])
        self._doubt = max(self._doubt, end)

    def _may_be_admitted(self) -> bool:
        """Whether a new stream, with the credentials of then, is worth another try: the agent ends the streams of a token that is
        rotated. A publisher that never got a response counts as an unknown caller, and does not try again."""
        if not self._admitted:
            return False
        if self._unadmitted is None:
            self._unadmitted = self._clock()
            return True
        return self._clock() - self._unadmitted < _ADMISSION_PATIENCE

    def _pause(self, e: errors.AgentError) -> float:
        self.last = e
        if self._answers > 0:
            self._backoff = self.o.retry_initial
        elif self._outage is None:
            self._outage = self._clock()
            logger.warning("events of stream %s wait in the buffer, the agent takes none: %s", self.stream, e)
            self._state(e)
        delay = max(random.uniform(0, self._backoff), e.retry_after)
        self._backoff = min(2 * self._backoff, max(self.o.retry_max, self.o.retry_initial))
        return min(delay, max(self.patience(), 0.0))

    def patience(self) -> float:
        """The seconds for which the publisher goes on without a response."""
        if self.o.give_up <= 0 or not self.waiting:
            return self.o.give_up or float("inf")
        return self._progress + self.o.give_up - self._clock()

    def give_up(self) -> List[Batch]:
        """Settles all that waits if patience is over. Some of it may be stored, under numbers that must not be used again."""
        if self.patience() > 0:
            return []
        e = errors.GivenUp(f"given up after {self.o.give_up:g} s without a response; the last try: {self.last}")
        settled = self._abandon(e)
        self._renew()
        self._backoff = self.o.retry_initial
        return settled

    def end(self) -> List[Batch]:
        """Settles all that waits, for a publisher that ends."""
        self.closing = True
        tail = "" if self.last is None else f"; the last try: {self.last}"
        return self._abandon(errors.Closed(f"the publisher to {self.stream} is closed; the event had no response{tail}"))

    def _abandon(self, e: Exception) -> List[Batch]:
        self.cut()
        settled = []
        for r in list(self._queue):
            settled += self._drop(r, r.start, r.end, e)
        return settled

    def _refuse(self, r: Request, start: int, end: int, e: Exception) -> List[Batch]:
        """Removes the events [start, end) of the batch from the oldest request. The numbers of later events move up: an agent that
        has stored some of them must not mistake them for stored ones, so the publisher becomes another producer for it."""
        if self._doubt > self._base:
            self._renew()
        return self._drop(r, start, end, e)

    def _drop(self, r: Request, start: int, end: int, e: Exception) -> List[Batch]:
        if self.o.on_refused is not None:
            for i in range(start, end):
                _guarded(self.o.on_refused, _event.decode(r.batch.events[i]), e)
        self._replace(r.without(start, end))
        return self._settle(r, start, end, e)

    def _replace(self, requests: List[Request]) -> None:
        self._queue.popleft()
        self._queue.extendleft(reversed(requests))
        self._sent = 0  # the stream has ended

    def _state(self, e: Optional[Exception]) -> None:
        if self.o.on_state is not None:
            _guarded(self.o.on_state, e)


def _guarded(call: Callable[..., None], *arguments: object) -> None:
    """Calls the user's function. Its errors must not end the publisher."""
    try:
        call(*arguments)
    except Exception:
        logger.exception("%r failed", call)


def options(o: Optional[PublisherOptions], changes: dict[str, object]) -> PublisherOptions:
    """The options with the changes that were given by name."""
    return dataclasses.replace(o or PublisherOptions(), **changes)  # type: ignore[arg-type]
