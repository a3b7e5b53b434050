"""The client for programs with threads."""

from __future__ import annotations

import threading
from typing import Any, Iterator, List, Mapping, Optional, Sequence

import grpc

from standpipe import _dial, _event, _outbox, errors
from standpipe._dial import TLS, Token
from standpipe._event import Ack, Data, Event, Time
from standpipe._outbox import Batch, Outbox, PublisherOptions
from standpipe._stored import Stored, stored_of


class Client:
    """A connection to an agent at host:port or unix:///path. It connects at the first request, and again when the connection
    breaks. Any number of threads may use it. A process that forks opens its client after the fork.

    token is sent with each request; a function is called for each, for tokens that change. Without TLS a token is for an agent of
    this host only.
    """

    def __init__(self, address: str = "127.0.0.1:7710", *, token: Token = None, tls: Optional[TLS] = None) -> None:
        self._dial = d = _dial.Dial(address, token, tls)
        if d.credentials is not None:
            self._channel = grpc.secure_channel(d.name, d.credentials, d.options)
        else:
            self._channel = grpc.insecure_channel(d.name, d.options)
        self._append = self._channel.unary_unary(_dial.APPEND)
        self._lock = threading.Lock()
        self._publishers: List[Publisher] = []
        self._closed = False

    def append(
        self,
        stream: str,
        events: Sequence[Event],
        *,
        ack: Ack = Ack.DEFAULT,
        producer_id: str = "",
        sequence: int = 0,
        timeout: Optional[float] = None,
    ) -> Stored:
        """Stores events, all or none, and returns their place once they have reached the ack level. It does not try again by itself.

        A producer that numbers its events gives producer_id and sequence, the first event's number from 1, and may send a batch
        again: the agent stores it once. Errors: AgentError.
        """
        body = _event.request(stream, b"".join(e.encode() for e in events), ack, producer_id, sequence)
        try:
            return stored_of(self._append(body, timeout=timeout, metadata=self._dial.metadata()))
        except grpc.RpcError as e:
            raise errors.of_rpc(e) from None

    def publisher(self, stream: str, options: Optional[PublisherOptions] = None, **changes: Any) -> Publisher:
        """A publisher to a stream, which has to be closed. The fields of PublisherOptions may be given by name."""
        p = Publisher(self, stream, _outbox.options(options, changes))
        with self._lock:
            if self._closed:
                raise errors.Closed("the client is closed")
            self._publishers = [q for q in self._publishers if not q.ended] + [p]
            p._thread.start()
        return p

    def close(self) -> None:
        """Closes the connection. Publishers that are not closed end at once."""
        with self._lock:
            self._closed = True
            publishers, self._publishers = self._publishers, []
        for p in publishers:
            p._end()
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Receipt:
    """Stands for a published event. It may be thrown away."""

    __slots__ = ("_publisher", "_batch", "_index")

    def __init__(self, publisher: Publisher, batch: Batch, index: int) -> None:
        self._publisher, self._batch, self._index = publisher, batch, index

    @property
    def done(self) -> bool:
        """Whether the event has its response."""
        return self._batch.left == 0

    def result(self, timeout: Optional[float] = None) -> int:
        """Waits for the response, and returns the event's offset; 0: stored, but the offset is not known.

        Errors: TimeoutError; AgentError, Closed or GivenUp for an event that is not stored, or not known to be.
        """
        if not self._publisher._wait(lambda: self.done, timeout):
            raise TimeoutError(f"the event has no response after {timeout:g} s")
        return self._batch.result(self._index)


class Publisher:
    """Sends events to one stream in the background: it gathers them into requests, and sends many of those before the first is
    answered. Any number of threads may use it. Events that one thread publishes are stored in that order.

    When the connection breaks, or the agent is stopped, killed, full or draining, it retries for as long as it takes and resumes at
    the first request without a response. The agent recognises stored events: none is stored twice while the publisher lives.
    Events without a response are in this process's memory only. Leaving a with block closes it.
    """

    def __init__(self, client: Client, stream: str, options: PublisherOptions) -> None:
        self._client = client
        self._box = Outbox(stream, options)
        self._changed = threading.Condition()  # guards _box
        self._session = 0  # counts streams; guarded by _changed
        self._call: Any = None  # of the stream that is open; guarded by _changed
        self._hurry = False
        self.ended = False
        """Whether the publisher is closed and has no work left."""
        self._result: Optional[Exception] = None
        self._thread = threading.Thread(target=self._run, name=f"standpipe {stream}", daemon=True)

    def publish(
        self,
        key: str,
        data: Data,
        *,
        time: Time = None,
        attributes: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
    ) -> Receipt:
        """Copies an event into the buffer. It waits while the buffer is full, at most for timeout seconds; 0: not at all.

        Errors: BufferFull; Closed; ValueError for an event that cannot be encoded or is larger than the buffer. Nothing will be sent
        then.
        """
        encoded = _event.encode(key, data, time, attributes)
        weight = len(encoded) + 64
        box = self._box
        with self._changed:
            if not box.fits(weight):
                box.check(weight)
                if not self._wait_locked(lambda: box.closing or box.fits(weight), timeout):
                    raise errors.BufferFull(f"publish to {box.stream}: the buffer of {box.o.max_buffered} bytes is full")
            batch, index, news = box.add(encoded, weight)
            if news:
                self._changed.notify_all()
        return Receipt(self, batch, index)

    def flush(self, timeout: Optional[float] = None) -> None:
        """Sends the buffered events without waiting for more, and returns when each has its response.

        Errors: NotStored if events were rejected since the last flush; Unanswered after timeout seconds.
        """
        with self._changed:
            last = self._box.last_batch()
            self._changed.notify_all()
            if last is not None and not self._wait_locked(lambda: last.left == 0, timeout):
                raise self._box.unfinished("flush")
            refused = self._box.refusals("flush")
        if refused is not None:
            raise refused

    def close(self, timeout: Optional[float] = None) -> None:
        """Accepts no further event, flushes and ends the publisher. After timeout seconds the rest has the error Closed. A second
        call has the result of the first. Errors: NotStored, which counts the rest too."""
        with self._changed:
            self._box.closing = True
            self._box.cut()
            self._changed.notify_all()
            self._wait_locked(lambda: self.ended, timeout)
        self._end()
        with self._changed:
            if self._result is None:
                self._result = self._box.refusals("close")
        if self._result is not None:
            raise self._result

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end(self) -> None:
        """Ends the publisher without waiting for responses."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            call = self._call
        if call is not None:
            call.cancel()
        self._thread.join()

    def _wait(self, condition: Any, timeout: Optional[float]) -> bool:
        if condition():
            return True
        with self._changed:
            return self._wait_locked(condition, timeout)

    def _wait_locked(self, condition: Any, timeout: Optional[float]) -> bool:
        return bool(self._changed.wait_for(condition, timeout))

    # Everything below runs in threads of the publisher.

    def _run(self) -> None:
        """Opens one stream after another for as long as there is something to send."""
        box = self._box
        while True:
            with self._changed:
                self._changed.wait_for(lambda: box.waiting or box.closing or self._hurry)
                if self._hurry or not box.waiting:
                    break
            error = self._stream()
            with self._changed:
                delay, _ = box.conclude(error)
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._hurry, delay)
                box.give_up()
                self._changed.notify_all()
        with self._changed:
            box.end()
            self.ended = True
            self._changed.notify_all()

    def _stream(self) -> errors.AgentError:
        """Sends over one AppendStream, from the first request without a response on, until it ends."""
        with self._changed:
            self._box.rewind()
            self._session += 1
            session = self._session
        ended = errors.AgentError(grpc.StatusCode.UNAVAILABLE, "the agent ended the stream")
        try:
            metadata = self._client._dial.metadata()
        except Exception as e:  # a token that cannot be read is worth another try
            return errors.AgentError(grpc.StatusCode.UNAVAILABLE, f"get the token: {e}")
        try:
            call = self._client._channel.stream_stream(_dial.APPEND_STREAM)(self._requests(session), metadata=metadata)
        except ValueError as e:  # the channel is closed
            return errors.AgentError(grpc.StatusCode.UNAVAILABLE, str(e))
        with self._changed:
            self._call, hurry = call, self._hurry
        if hurry:
            call.cancel()
        if self._box.o.give_up > 0:
            threading.Thread(target=self._watch, args=(session, call), name="standpipe watch", daemon=True).start()
        try:
            for response in call:
                stored = stored_of(response)
                with self._changed:
                    self._box.answered(stored.count, stored.first)
                    self._changed.notify_all()
        except errors.AgentError as e:
            ended = e
        except grpc.RpcError as e:
            ended = errors.of_rpc(e)
        finally:
            with self._changed:
                self._session += 1
                self._call = None
                self._changed.notify_all()
            call.cancel()
        return ended

    def _requests(self, session: int) -> Iterator[bytes]:
        """The requests of a stream, as they may be sent. gRPC takes them in a thread of its own."""
        while True:
            with self._changed:
                while True:
                    if self._session != session or self._hurry:
                        return
                    body, wait, done = self._box.next()
                    if body is not None:
                        break
                    if done:
                        return
                    self._changed.wait(wait)
            yield body

    def _watch(self, session: int, call: Any) -> None:
        """Cancels the call when events have waited for as long as give_up without any response."""
        with self._changed:
            while (patience := self._box.patience()) > 0:
                self._changed.wait(min(patience, threading.TIMEOUT_MAX))
                if self._session != session:
                    return
        call.cancel()
