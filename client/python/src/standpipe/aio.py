"""The client for asyncio.

    async with standpipe.aio.Client("127.0.0.1:7710") as client:
        async with client.publisher("clicks") as publisher:
            async for line in lines:
                await publisher.publish(line.user, line.json)

    # every event is on the agent's disk here

It has the promises of standpipe.Client and standpipe.Publisher. Its objects belong to one event loop.
"""

from __future__ import annotations

import asyncio
from typing import Any, List, Mapping, Optional, Sequence

import grpc
import grpc.aio

from standpipe import _dial, _event, _outbox, errors
from standpipe._dial import TLS, Token
from standpipe._event import Ack, Data, Event, Time
from standpipe._outbox import Batch, Outbox, PublisherOptions
from standpipe._stored import Stored, stored_of

__all__ = ["Client", "Publisher", "Receipt", "TLS"]


class Client:
    """A connection to an agent, as standpipe.Client. It is made inside a running event loop."""

    def __init__(self, address: str = "127.0.0.1:7710", *, token: Token = None, tls: Optional[TLS] = None) -> None:
        self._dial = d = _dial.Dial(address, token, tls)
        if d.credentials is not None:
            self._channel = grpc.aio.secure_channel(d.name, d.credentials, d.options)
        else:
            self._channel = grpc.aio.insecure_channel(d.name, d.options)
        self._append = self._channel.unary_unary(_dial.APPEND)
        self._publishers: List[Publisher] = []
        self._closed = False

    async def append(
        self,
        stream: str,
        events: Sequence[Event],
        *,
        ack: Ack = Ack.DEFAULT,
        producer_id: str = "",
        sequence: int = 0,
        timeout: Optional[float] = None,
    ) -> Stored:
        """As standpipe.Client.append."""
        body = _event.request(stream, b"".join(e.encode() for e in events), ack, producer_id, sequence)
        try:
            return stored_of(await self._append(body, timeout=timeout, metadata=self._dial.metadata()))
        except grpc.RpcError as e:
            raise errors.of_rpc(e) from None

    def publisher(self, stream: str, options: Optional[PublisherOptions] = None, **changes: Any) -> Publisher:
        """A publisher to a stream, which has to be closed. The fields of PublisherOptions may be given by name."""
        if self._closed:
            raise errors.Closed("the client is closed")
        p = Publisher(self, stream, _outbox.options(options, changes))
        self._publishers = [q for q in self._publishers if not q.ended] + [p]
        return p

    async def close(self) -> None:
        """Closes the connection. Publishers that are not closed end at once."""
        self._closed = True
        publishers, self._publishers = self._publishers, []
        for p in publishers:
            await p._end()
        await self._channel.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Receipt:
    """Stands for a published event. It may be thrown away."""

    __slots__ = ("_batch", "_index")

    def __init__(self, batch: Batch, index: int) -> None:
        self._batch, self._index = batch, index

    @property
    def done(self) -> bool:
        """Whether the event has its response."""
        return self._batch.left == 0

    async def result(self) -> int:
        """Waits for the response, and returns the event's offset; 0: stored, but the offset is not known.

        Errors: AgentError, Closed or GivenUp for an event that is not stored, or not known to be.
        """
        if not self.done:
            await _settled(self._batch)
        return self._batch.result(self._index)


async def _settled(batch: Batch) -> None:
    """Waits until the batch has its results."""
    future = asyncio.get_running_loop().create_future()
    batch.waiters.append(lambda: None if future.done() else future.set_result(None))
    await future


class Publisher:
    """Sends events to one stream in the background, as standpipe.Publisher. Events that one task publishes are stored in that order.
    Leaving an async with block closes it."""

    def __init__(self, client: Client, stream: str, options: PublisherOptions) -> None:
        self._client = client
        self._box = Outbox(stream, options)
        self._news = asyncio.Event()  # the sender has something to do
        self._waiting: List[asyncio.Future[None]] = []  # for room
        self._result: Optional[Exception] = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def ended(self) -> bool:
        """Whether the publisher is closed and has no work left."""
        return self._task.done()

    async def publish(
        self, key: str, data: Data, *, time: Time = None, attributes: Optional[Mapping[str, str]] = None
    ) -> Receipt:
        """Copies an event into the buffer. It waits while the buffer is full.

        Errors: Closed; ValueError for an event that cannot be encoded or is larger than the buffer. Nothing will be sent then.
        """
        encoded = _event.encode(key, data, time, attributes)
        weight = len(encoded) + 64
        box = self._box
        while not box.fits(weight) and not box.closing:
            box.check(weight)
            await self._await_change()
        return self._add(encoded, weight)

    def publish_nowait(
        self, key: str, data: Data, *, time: Time = None, attributes: Optional[Mapping[str, str]] = None
    ) -> Receipt:
        """publish that does not wait. Errors: BufferFull too."""
        encoded = _event.encode(key, data, time, attributes)
        weight = len(encoded) + 64
        if not self._box.fits(weight) and not self._box.closing:
            self._box.check(weight)
            raise errors.BufferFull(f"publish to {self._box.stream}: the buffer of {self._box.o.max_buffered} bytes is full")
        return self._add(encoded, weight)

    def _add(self, encoded: bytes, weight: int) -> Receipt:
        batch, index, news = self._box.add(encoded, weight)
        if news:
            self._news.set()
        return Receipt(batch, index)

    async def _await_change(self) -> None:
        """Waits until events are settled, or the publisher is closed."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def _change(self, settled: List[Batch]) -> None:
        """Wakes the sender and all tasks that wait for room or for the results of the settled batches."""
        self._news.set()
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():  # else its task was cancelled
                future.set_result(None)
        for batch in settled:
            for wake in batch.waiters:
                wake()

    async def flush(self) -> None:
        """Sends the buffered events without waiting for more, and returns when each has its response.

        Errors: NotStored if events were rejected since the last flush.
        """
        last = self._box.last_batch()
        self._news.set()
        if last is not None:
            await _settled(last)
        refused = self._box.refusals("flush")
        if refused is not None:
            raise refused

    async def close(self, timeout: Optional[float] = None) -> None:
        """Accepts no further event, flushes and ends the publisher. After timeout seconds the rest has the error Closed. A second
        call has the result of the first. Errors: NotStored, which counts the rest too."""
        self._box.closing = True
        self._box.cut()
        self._change([])
        await asyncio.wait([self._task], timeout=timeout)
        await self._end()
        if self._result is None:
            self._result = self._box.refusals("close")
        if self._result is not None:
            raise self._result

    async def __aenter__(self) -> Publisher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _end(self) -> None:
        """Ends the publisher without waiting for responses."""
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    # Everything below runs in the publisher's task.

    async def _run(self) -> None:
        """Opens one stream after another for as long as there is something to send."""
        box = self._box
        try:
            while True:
                while not box.waiting and not box.closing:
                    self._news.clear()
                    await self._news.wait()
                if not box.waiting:
                    return
                error = await self._stream()
                delay, settled = box.conclude(error)
                self._change(settled)
                await asyncio.sleep(delay)
                self._change(box.give_up())
        finally:
            self._change(box.end())

    async def _stream(self) -> errors.AgentError:
        """Sends over one AppendStream, from the first request without a response on, until it ends."""
        self._box.rewind()
        try:
            metadata = self._client._dial.metadata()
        except Exception as e:  # a token that cannot be read is worth another try
            return errors.AgentError(grpc.StatusCode.UNAVAILABLE, f"get the token: {e}")
        call = self._client._channel.stream_stream(_dial.APPEND_STREAM)(metadata=metadata)
        receiving = asyncio.create_task(self._receive(call))
        beside = [receiving, asyncio.create_task(self._send(call))]
        if self._box.o.give_up > 0:
            beside.append(asyncio.create_task(self._watch(call)))
        try:
            await asyncio.wait([receiving])  # a task of its own: a call that _watch cancels raises CancelledError
            if receiving.cancelled():
                return errors.AgentError(grpc.StatusCode.CANCELLED, "no response for as long as give_up")
            receiving.result()
            return errors.of_call(await call.code(), await call.details() or "the agent ended the stream", await call.trailing_metadata())
        except errors.AgentError as e:
            return e
        except grpc.RpcError as e:
            return errors.of_rpc(e)
        finally:
            call.cancel()
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)

    async def _receive(self, call: Any) -> None:
        """Notes the responses until the stream ends."""
        while (response := await call.read()) is not grpc.aio.EOF:
            stored = stored_of(response)
            self._change(self._box.answered(stored.count, stored.first))

    async def _watch(self, call: Any) -> None:
        """Cancels the call when events have waited for as long as give_up without any response."""
        while (patience := self._box.patience()) > 0:
            await asyncio.sleep(patience)
        call.cancel()

    async def _send(self, call: Any) -> None:
        """Sends requests as they may be sent. The receiving side reports the end of the stream."""
        try:
            while True:
                body, wait, done = self._box.next()
                if body is not None:
                    await call.write(body)
                    continue
                if done:
                    await call.done_writing()
                    return
                self._news.clear()
                try:
                    await asyncio.wait_for(self._news.wait(), wait)
                except asyncio.TimeoutError:
                    pass
        except (grpc.RpcError, asyncio.InvalidStateError):
            return
