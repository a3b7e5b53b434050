// A model agent behind a drawn network: whatever breaks, each event is stored once, in order, or rejected for its own fault.
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { status } from "@grpc/grpc-js";
import protobuf from "protobufjs";

import { Ack, AgentError, Client, Closed, NotStored } from "../dist/index.js";
import { errorOf } from "../dist/errors.js";
import { Outbox, settings } from "../dist/outbox.js";
import { decodeEvent, decodeStored, encode, request } from "../dist/wire.js";

const proto = process.env.STANDPIPE_PROTO ?? join(dirname(fileURLToPath(import.meta.url)), "../../../proto/standpipe/v1/standpipe.proto");
const root = protobuf.loadSync(proto);
const AppendRequest = root.lookupType("standpipe.v1.AppendRequest");
const AppendResponse = root.lookupType("standpipe.v1.AppendResponse");

/** Numbers from a seed (mulberry32). */
function draws(seed) {
  const random = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return { random, pick: (...of) => of[Math.floor(random() * of.length)] };
}

/** Stores batches as an agent does: all or none, those of a producer once, none after a rejected one of the same stream. */
class Agent {
  stored = [];
  producers = new Map();
  constructor(limit) { this.limit = limit; }

  append(body) {
    const m = AppendRequest.toObject(AppendRequest.decode(body), { longs: Number, bytes: Buffer });
    m.events.forEach((e, i) => {
      if (e.data.toString().startsWith("bad")) throw new AgentError(status.INVALID_ARGUMENT, `event ${i}: not allowed`, { reason: "format", event: i });
    });
    if (m.events.length > this.limit) throw new AgentError(status.RESOURCE_EXHAUSTED, "request too large");
    const p = this.producers.get(m.producerId) ?? { following: 1, offsets: new Map() };
    const n = m.events.length;
    if (p.offsets.has(m.producerSequence)) return { first: p.offsets.get(m.producerSequence), count: n };
    if (m.producerSequence < p.following) {
      if (m.producerSequence + n <= p.following) return { first: 0, count: n }; // stored in other pieces
      throw new AgentError(status.INVALID_ARGUMENT, "overlaps", { reason: "sequence" });
    }
    if (m.producerSequence > p.following) throw new AgentError(status.INVALID_ARGUMENT, "gap", { reason: "sequence" });
    const first = this.stored.length + 1;
    this.stored.push(...m.events.map((e) => e.data.toString()));
    p.offsets.set(m.producerSequence, first);
    p.following += n;
    this.producers.set(m.producerId, p);
    return { first, count: n };
  }
}

const quiet = { info() {}, warn() {} };
const box = (o = {}, clock = () => 0) => new Outbox("s", settings({ linger: 0, logger: quiet, ...o }), clock);
const put = (b, ...all) => all.map((data) => {
  const encoded = encode({ key: "k", data });
  return b.add(encoded, encoded.length);
});

test("each event is stored once, in order", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const r = draws(seed);
    let now = 0;
    const agent = new Agent(r.pick(1, 3, 1000));
    const refused = [];
    const b = box({
      batchEvents: r.pick(1, 2, 7, 100), batchBytes: r.pick(1, 60, 1 << 18), window: r.pick(1, 2, 64, 256), linger: 1,
      onRefused: (e) => refused.push(Buffer.from(e.data).toString()),
    }, () => now);
    const events = Array.from({ length: r.pick(1, 10, 200) }, (_, i) => `${r.random() < 0.03 ? "bad" : "ok"}-${i}`);
    const pending = [...events], places = [], breaks = r.pick(0, 0.05, 0.3);
    for (let rounds = 0; pending.length > 0 || b.waiting; rounds++) {
      assert.ok(rounds < 100_000, `seed ${seed}: no end`);
      for (let i = r.pick(0, 1, 20); i > 0 && pending.length > 0; i--) places.push(...put(b, pending.shift()));
      now += 2 * r.random();
      if (!b.waiting) continue;
      b.rewind();
      const unanswered = [];
      const answer = () => { const m = unanswered.shift(); b.answered(m.count, m.first); };
      let error = new AgentError(status.UNAVAILABLE, "the connection broke");
      for (let i = r.pick(1, 5, 50); i > 0; i--) {
        const { body } = b.next();
        if (body) {
          try {
            unanswered.push(agent.append(body));
          } catch (e) {
            while (unanswered.length > 0) answer(); // responses leave in order, before the error
            error = e;
            break;
          }
        }
        while (unanswered.length > 0 && r.random() < 0.5) answer();
        if (r.random() < breaks) break;
      }
      b.conclude(error);
    }
    const bad = events.filter((e) => e.startsWith("bad"));
    assert.deepEqual(agent.stored, events.filter((e) => e.startsWith("ok")), `seed ${seed}`);
    assert.deepEqual(refused.sort(), bad.sort(), `seed ${seed}`);
    assert.equal(b.buffered, 0);
    places.forEach(({ batch, index }, i) => {
      if (events[i].startsWith("bad")) return assert.throws(() => batch.result(index), /not allowed/);
      const offset = batch.result(index);
      if (offset > 0) assert.equal(agent.stored[offset - 1], events[i], `seed ${seed}`);
    });
    assert.equal(b.refusals("flush")?.count ?? 0, bad.length);
    assert.equal(b.refusals("flush"), null);
  }
});

test("a rejection by a proxy makes another producer", () => {
  const b = box({ batchEvents: 1 });
  put(b, "a", "b");
  const before = b.producer;
  b.rewind();
  b.next();
  b.conclude(new AgentError(status.UNAVAILABLE, "reset")); // a may be stored
  assert.equal(b.producer, before);
  b.rewind();
  b.next();
  b.conclude(new AgentError(status.INVALID_ARGUMENT, "event 0: no", { reason: "format", event: 0 }));
  assert.notEqual(b.producer, before);
});

test("a token that is rotated is tried again, one that never worked is not", () => {
  let now = 0;
  const unknown = new AgentError(status.UNAUTHENTICATED, "no such token", { reason: "unauthenticated" });
  const b = box({}, () => now);
  const round = () => { b.rewind(); b.next(); };
  put(b, "a");
  round();
  b.conclude(unknown);
  assert.equal(b.refusals("flush").count, 1);
  put(b, "b", "c");
  round();
  b.answered(2, 1);
  put(b, "d");
  for (let i = 0; i < 3; i++) {
    round();
    now += 1000;
    b.conclude(unknown);
    assert.ok(b.waiting);
  }
  now += 3000;
  round();
  b.conclude(unknown);
  assert.ok(!b.waiting);
});

test("giving up settles all that waits, and numbers anew", () => {
  let now = 0;
  const b = box({ giveUp: 10 }, () => now);
  put(b, "a", "b");
  const before = b.producer;
  b.rewind();
  b.next();
  now += 9;
  b.conclude(new AgentError(status.UNAVAILABLE, "down"));
  assert.deepEqual(b.giveUp(), []);
  now += 2;
  assert.equal(b.giveUp().length, 1);
  assert.ok(!b.waiting && b.buffered === 0 && b.producer !== before);
});

test("a closed publisher takes nothing and settles the rest", () => {
  const b = box();
  put(b, "a");
  b.end();
  assert.throws(() => put(b, "b"), Closed);
  assert.ok(b.refusals("close") instanceof NotStored);
});

test("states are reported once", () => {
  const states = [], down = new AgentError(status.UNAVAILABLE, "down");
  const b = box({ onState: (e) => states.push(e) });
  put(b, "a");
  for (let i = 0; i < 3; i++) { b.rewind(); b.next(); b.conclude(down); }
  b.rewind();
  b.next();
  b.answered(1, 1);
  assert.deepEqual(states, [down, null]);
});

test("the wire form is that of the messages", () => {
  const r = draws(7);
  for (let i = 0; i < 500; i++) {
    const attributes = Object.fromEntries(Array.from({ length: r.pick(0, 0, 1, 5) }, (_, i) => [`n${i}`, "v".repeat(r.pick(0, 1, 200))]));
    const data = Buffer.alloc(r.pick(0, 1, 127, 128, 2047, 2048, 16383, 16384, 70000), i);
    const time = r.pick(undefined, 1n, 1_700_000_000_000_000_000n, -1n, new Date(1_700_000_000_000));
    const e = { key: "k".repeat(r.pick(1, 256)) + r.pick("", "é", "\u{1f600}"), data, attributes, ...(time === undefined ? {} : { time }) };
    const ack = r.pick(0, 1, 2, 3), sequence = r.pick(1n, 1n << 62n);
    const body = request("s", [encode(e), encode(e)], ack, "p", sequence);
    const m = AppendRequest.toObject(AppendRequest.decode(body), { longs: String, bytes: Buffer, defaults: true });
    const nanos = time instanceof Date ? BigInt(time.getTime()) * 1_000_000n : time ?? 0n;
    const want = { partitionKey: e.key, data, timeUnixNano: nanos.toString(), attributes };
    assert.deepEqual(m, { stream: "s", events: [want, want], ack, producerId: "p", producerSequence: sequence.toString(), producerNext: "0" });
    const back = decodeEvent(encode(e));
    assert.deepEqual([back.key, Buffer.from(back.data), back.time ?? 0n, back.attributes ?? {}], [e.key, data, nanos, attributes]);
  }
  const stored = AppendResponse.encode({ firstOffset: 2 ** 40, count: 300, ack: Ack.Durable, duplicate: true }).finish();
  assert.deepEqual(decodeStored(stored), { first: 2 ** 40, count: 300, ack: Ack.Durable, duplicate: true });
  for (const wrong of [[0xff], [0x12, 5], [0x0b], new Array(20).fill(0xff)]) assert.throws(() => decodeStored(Uint8Array.from(wrong)), RangeError);
});

test("options, addresses and events are checked", () => {
  for (const [name, value] of [["window", 257], ["batchEvents", 0], ["linger", -1], ["maxBuffered", NaN]]) {
    assert.throws(() => settings({ [name]: value }), new RegExp(name));
  }
  for (const address of ["", "host", "host:port", "http://host:1", "unix://relative"]) assert.throws(() => new Client(address), /host:port/);
  assert.throws(() => new Client("gateway.site:7710", { token: "secret" }), /TLS/);
  assert.throws(() => encode({ key: 1, data: "" }), /key/);
  assert.throws(() => encode({ key: "k", data: {} }), /data/);
  assert.throws(() => encode({ key: "k", data: "", time: new Date(NaN) }), /time/);
});

test("errors carry the agent's details, and those of others do not break", () => {
  const e = errorOf({ code: status.UNAVAILABLE, details: "x", metadata: { get: () => [Buffer.from([0xff, 1])] } });
  assert.deepEqual([e.code, e.reason, e.event, e.retryAfter, e.final], [status.UNAVAILABLE, "", -1, 0, false]);
});
