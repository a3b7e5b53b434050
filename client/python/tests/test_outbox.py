"""A model agent behind a drawn network: whatever breaks, each event is stored once, in order, or rejected for its own fault."""

import logging
import random
import unittest

import grpc

from standpipe import Ack, AgentError, Closed, Event, NotStored, PublisherOptions
from standpipe._event import encode
from standpipe._outbox import Batch, Outbox
from standpipe._stored import stored_of
from standpipe.v1 import standpipe_pb2 as pb

SEEDS = range(300)

logging.disable()


class Agent:
    """Stores batches as an agent does: all or none, those of a producer once, none after a rejected one of the same stream."""

    def __init__(self, limit: int) -> None:
        self.stored: list[bytes] = []
        self.producers: dict[str, tuple[int, dict[int, int]]] = {}
        self.limit = limit

    def append(self, m: pb.AppendRequest) -> pb.AppendResponse:
        for i, e in enumerate(m.events):
            if e.data.startswith(b"bad"):
                raise AgentError(grpc.StatusCode.INVALID_ARGUMENT, f"event {i}: not allowed", reason="format", event=i)
        if len(m.events) > self.limit:
            raise AgentError(grpc.StatusCode.RESOURCE_EXHAUSTED, "request too large")
        following, offsets = self.producers.get(m.producer_id, (1, {}))
        if m.producer_sequence in offsets:
            return pb.AppendResponse(first_offset=offsets[m.producer_sequence], count=len(m.events), duplicate=True)
        if m.producer_sequence < following:
            # stored in other pieces: known to the agent, without an offset
            if m.producer_sequence + len(m.events) <= following:
                return pb.AppendResponse(count=len(m.events), duplicate=True)
            raise AgentError(grpc.StatusCode.INVALID_ARGUMENT, "overlaps", reason="sequence")
        if m.producer_sequence > following:
            raise AgentError(grpc.StatusCode.INVALID_ARGUMENT, "gap", reason="sequence")
        first = len(self.stored) + 1
        self.stored += [e.data for e in m.events]
        offsets[m.producer_sequence] = first
        self.producers[m.producer_id] = (following + len(m.events), offsets)
        return pb.AppendResponse(first_offset=first, count=len(m.events))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def check_stored_once_in_order(t: unittest.TestCase, seed: int) -> None:
    r = random.Random(seed)
    clock, agent = Clock(), Agent(limit=r.choice([1, 3, 1000]))
    refused: list[bytes] = []
    box = Outbox(
        "s",
        PublisherOptions(
            batch_events=r.choice([1, 2, 7, 100]), batch_bytes=r.choice([1, 60, 1 << 18]), window=r.choice([1, 2, 64, 256]),
            on_refused=lambda e, _: refused.append(bytes(e.data)),  # type: ignore[arg-type]
        ),
        clock,
    )
    events = [(b"bad" if r.random() < 0.03 else b"ok") + b"-%d" % i for i in range(r.choice([1, 10, 200]))]
    places: list[tuple[Batch, int]] = []
    pending = list(events)
    breaks = r.choice([0.0, 0.05, 0.3])
    for rounds in range(100_000):
        if not pending and not box.waiting:
            break
        for _ in range(r.choice([0, 1, 20])):
            if pending:
                data = pending.pop(0)
                encoded = encode("k", data)
                batch, index, _ = box.add(encoded, len(encoded))
                places.append((batch, index))
        clock.now += r.random()
        if not box.waiting:
            continue
        box.rewind()
        unanswered: list[pb.AppendResponse] = []
        error = AgentError(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        for _ in range(r.choice([1, 5, 50])):
            body, _, _ = box.next()
            if body is not None:
                try:
                    unanswered.append(agent.append(pb.AppendRequest.FromString(body)))
                except AgentError as e:
                    for m in unanswered:  # responses leave in order, before the error
                        box.answered(m.count, m.first_offset)
                    error = e
                    break
            while unanswered and r.random() < 0.5:
                m = unanswered.pop(0)
                box.answered(m.count, m.first_offset)
            if r.random() < breaks:
                break
        box.conclude(error)
    t.assertFalse(box.waiting, f"no end after {rounds} rounds")
    good = [e for e in events if not e.startswith(b"bad")]
    t.assertEqual(agent.stored, good)
    t.assertEqual(sorted(refused), sorted(e for e in events if e.startswith(b"bad")))
    t.assertEqual(box.buffered, 0)
    for (batch, index), data in zip(places, events):
        if data.startswith(b"bad"):
            with t.assertRaisesRegex(AgentError, "not allowed"):
                batch.result(index)
        elif offset := batch.result(index):
            t.assertEqual(agent.stored[offset - 1], data)
    report = box.refusals("flush")
    t.assertEqual(report.count if report else 0, len(refused))
    t.assertIsNone(box.refusals("flush"))


def put(box: Outbox, *data: bytes) -> None:
    for d in data:
        encoded = encode("k", d)
        box.add(encoded, len(encoded))


class TestOutbox(unittest.TestCase):
    def test_each_event_is_stored_once_in_order(self) -> None:
        for seed in SEEDS:
            with self.subTest(seed=seed):
                check_stored_once_in_order(self, seed)

    def test_a_rejection_by_a_proxy_makes_another_producer(self) -> None:
        box = Outbox("s", PublisherOptions(batch_events=1), Clock())
        put(box, b"a", b"b")
        before = box.producer
        box.rewind()
        box.next()
        box.conclude(AgentError(grpc.StatusCode.UNAVAILABLE, "reset"))  # a may be stored
        self.assertEqual(box.producer, before)
        box.rewind()
        box.next()
        box.conclude(AgentError(grpc.StatusCode.INVALID_ARGUMENT, "event 0: no", reason="format", event=0))
        self.assertNotEqual(box.producer, before)

    def test_a_token_that_is_rotated_is_tried_again_and_one_that_never_worked_is_not(self) -> None:
        clock = Clock()
        unknown = AgentError(grpc.StatusCode.UNAUTHENTICATED, "no such token", reason="unauthenticated")
        box = Outbox("s", PublisherOptions(linger=0), clock)
        put(box, b"a")
        box.rewind()
        box.next()
        box.conclude(unknown)
        self.assertEqual(box.refusals("flush").count, 1)  # type: ignore[union-attr]

        put(box, b"b", b"c")
        box.rewind()
        box.next()
        box.answered(2, 1)
        put(box, b"d")
        for _ in range(3):
            box.rewind()
            box.next()
            clock.now += 1
            box.conclude(unknown)
            self.assertTrue(box.waiting)
        clock.now += 3
        box.rewind()
        box.next()
        box.conclude(unknown)
        self.assertFalse(box.waiting)

    def test_give_up_settles_all_that_waits_and_numbers_anew(self) -> None:
        clock = Clock()
        box = Outbox("s", PublisherOptions(give_up=10, linger=0), clock)
        put(box, b"a", b"b")
        before = box.producer
        box.rewind()
        box.next()
        clock.now += 9
        box.conclude(AgentError(grpc.StatusCode.UNAVAILABLE, "down"))
        self.assertEqual(box.give_up(), [])
        clock.now += 2
        box.give_up()
        self.assertFalse(box.waiting)
        self.assertEqual(box.buffered, 0)
        self.assertNotEqual(box.producer, before)

    def test_a_closed_publisher_takes_nothing_and_settles_the_rest(self) -> None:
        box = Outbox("s", PublisherOptions(), Clock())
        put(box, b"a")
        box.end()
        with self.assertRaises(Closed):
            put(box, b"b")
        with self.assertRaisesRegex(NotStored, "1 event was not stored"):
            raise box.refusals("close")  # type: ignore[misc]

    def test_states_are_reported_once(self) -> None:
        states: list[object] = []
        box = Outbox("s", PublisherOptions(on_state=states.append, linger=0), Clock())
        put(box, b"a")
        down = AgentError(grpc.StatusCode.UNAVAILABLE, "down")
        for _ in range(3):
            box.rewind()
            box.next()
            box.conclude(down)
        box.rewind()
        box.next()
        box.answered(1, 1)
        self.assertEqual(states, [down, None])

    def test_the_wire_form_is_that_of_the_messages(self) -> None:
        from standpipe._event import request

        r = random.Random(7)
        for _ in range(500):
            size = r.choice([0, 1, 127, 128, 2047, 2048, 16383, 16384, 70000])
            attributes = {f"n{i}": "v" * r.choice([0, 1, 200]) for i in range(r.choice([0, 0, 1, 5]))}
            when = r.choice([None, 1, 1_700_000_000_000_000_000, -1])
            e = Event("k" * r.choice([1, 256]) + r.choice(["", "é", "\U0001f600"]), r.randbytes(size), when, attributes)
            ack, sequence = r.choice(list(Ack)), r.choice([1, 1 << 63])
            m = pb.AppendRequest.FromString(request("s", e.encode() + e.encode(), ack, "p", sequence))
            want = pb.Event(partition_key=e.key, data=bytes(e.data),  # type: ignore[arg-type]
                             time_unix_nano=when or 0, attributes=attributes)
            self.assertEqual(m, pb.AppendRequest(stream="s", events=[want, want], ack=ack.value, producer_id="p", producer_sequence=sequence))  # type: ignore[arg-type]

    def test_options_and_addresses_are_checked(self) -> None:
        from standpipe import Client

        for wrong in ({"window": 257}, {"batch_events": 0}, {"linger": -1}, {"max_buffered": 0}):
            with self.assertRaisesRegex(ValueError, next(iter(wrong))):
                PublisherOptions(**wrong)  # type: ignore[arg-type]
        for address in ("", "host", "host:port", "http://host:1", "unix://relative"):
            with self.assertRaisesRegex(ValueError, "host:port"):
                Client(address)
        with self.assertRaisesRegex(ValueError, "TLS"):
            Client("gateway.site:7710", token="secret")


class ResponseTest(unittest.TestCase):
    def test_one_that_cannot_be_decoded_is_an_error_of_the_agent(self) -> None:
        for response in (b"\xff", b"\x18\x63"):  # the second has the ack level 99
            with self.assertRaises(AgentError) as raised:
                stored_of(response)
            self.assertFalse(raised.exception.final)


if __name__ == "__main__":
    unittest.main()
