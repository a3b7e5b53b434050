// The wire form of proto/standpipe/v1/standpipe.proto. It is written by hand, so that an event is encoded once, when it is
// published, and needs no further work when its request is sent or sent again. A test compares it with protobufjs.

/** How far events must have come before they are answered. */
export enum Ack {
  /** The stream's level: Durable unless configured otherwise. */
  Default = 0,
  /** In the agent's memory: a crash may lose it, and the offset is not known. */
  Accepted = 1,
  /** Synced to the agent's disk. */
  Durable = 2,
  /** Settled by every destination of the stream. */
  Delivered = 3,
}

/** One entry of a stream. */
export interface Event {
  /** The partition key, 1 to 256 Unicode characters: events of one key stay in order. */
  key: string;
  /** Passed on as it is; a string as UTF-8. Whether it has to be a line, or JSON, is up to the stream's format. */
  data: Uint8Array | string;
  /** When it happened: a Date, or nanoseconds since 1970. Default: the agent's clock at receipt. */
  time?: Date | bigint;
  /** A few tags beside the data. */
  attributes?: Record<string, string>;
}

/** The place of a stored batch. */
export interface Stored {
  /** The stream's offset of the first event; 0: not known. Offsets count from 1 and have no gaps. */
  first: number;
  count: number;
  /** The level that was reached. */
  ack: Ack;
  /** Whether the batch had been stored before. */
  duplicate: boolean;
}

const varintSize = (n: number): number => (n < 1 << 7 ? 1 : n < 1 << 14 ? 2 : n < 1 << 21 ? 3 : n < 1 << 28 ? 4 : 5);

/** Writes fields one after another into a buffer of the right size. */
class Writer {
  private at = 0;
  constructor(private readonly to: Buffer) {}

  varint(n: number): this {
    while (n > 0x7f) {
      this.to[this.at++] = (n & 0x7f) | 0x80;
      n >>>= 7;
    }
    this.to[this.at++] = n;
    return this;
  }

  big(n: bigint): this {
    let rest = BigInt.asUintN(64, n);
    while (rest > 0x7fn) {
      this.to[this.at++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.to[this.at++] = Number(rest);
    return this;
  }

  text(tag: number, s: string, size: number): this {
    this.head(tag, size);
    this.to.write(s, this.at, "utf8");
    this.at += size;
    return this;
  }

  bytes(tag: number, b: Uint8Array): this {
    this.head(tag, b.length);
    this.to.set(b, this.at);
    this.at += b.length;
    return this;
  }

  tag(tag: number): this {
    this.to[this.at++] = tag;
    return this;
  }

  head(tag: number, size: number): this {
    return this.tag(tag).varint(size);
  }
}

const bigSize = (n: bigint): number => {
  let size = 1;
  for (let rest = BigInt.asUintN(64, n) >> 7n; rest > 0n; rest >>= 7n) size++;
  return size;
};

const nanoseconds = (time: Date | bigint): bigint => {
  if (typeof time === "bigint") return time;
  if (Number.isNaN(time.getTime())) throw new RangeError("time is an invalid Date; allowed is a valid one, or nanoseconds since 1970");
  return BigInt(time.getTime()) * 1_000_000n;
};

/** The bytes of an event in an AppendRequest. */
export function encode(e: Event): Buffer {
  if (typeof e.key !== "string") throw new TypeError(`key is of type ${typeof e.key}; allowed is a string`);
  if (typeof e.data !== "string" && !(e.data instanceof Uint8Array)) throw new TypeError("data is no Uint8Array and no string");
  const key = Buffer.byteLength(e.key);
  const data = typeof e.data === "string" ? Buffer.byteLength(e.data) : e.data.length;
  let size = 2 + varintSize(key) + key + varintSize(data) + data;
  const time = e.time === undefined ? 0n : nanoseconds(e.time);
  if (time !== 0n) size += 1 + bigSize(time);
  const pairs: [string, number, string, number][] = [];
  for (const name in e.attributes) {
    const value = e.attributes[name]!;
    const n = Buffer.byteLength(name), v = Buffer.byteLength(value);
    pairs.push([name, n, value, v]);
    const pair = 2 + varintSize(n) + n + varintSize(v) + v;
    size += 1 + varintSize(pair) + pair;
  }
  const to = Buffer.allocUnsafe(1 + varintSize(size) + size);
  const w = new Writer(to).head(0x12, size).text(0x0a, e.key, key);
  if (typeof e.data === "string") w.text(0x12, e.data, data);
  else w.bytes(0x12, e.data);
  if (time !== 0n) w.tag(0x18).big(time);
  for (const [name, n, value, v] of pairs) {
    w.head(0x22, 2 + varintSize(n) + n + varintSize(v) + v).text(0x0a, name, n).text(0x12, value, v);
  }
  return to;
}

/** The bytes of an AppendRequest. The events are those of encode. */
export function request(stream: string, events: readonly Buffer[], ack: Ack, producer: string, sequence: bigint): Buffer {
  const s = Buffer.byteLength(stream), p = Buffer.byteLength(producer);
  const head = Buffer.allocUnsafe(1 + varintSize(s) + s);
  new Writer(head).text(0x0a, stream, s);
  const size = (ack ? 2 : 0) + (p ? 1 + varintSize(p) + p + 1 + bigSize(sequence) : 0);
  const tail = Buffer.allocUnsafe(size);
  const w = new Writer(tail);
  if (ack) w.tag(0x18).varint(ack);
  if (p) w.text(0x22, producer, p).tag(0x28).big(sequence);
  return Buffer.concat([head, ...events, tail]);
}

/** Calls field with the number of each field and its value: a bigint of a varint, or the bytes. */
export function fields(b: Uint8Array, field: (number: number, value: bigint | Uint8Array) => void): void {
  let at = 0;
  const varint = (): bigint => {
    let n = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const c = b[at++];
      if (c === undefined) break;
      n |= BigInt(c & 0x7f) << shift;
      if (c < 0x80) return n;
    }
    throw new RangeError(`a message of ${b.length} bytes is no protobuf`);
  };
  const skip = (n: number): Uint8Array => {
    if (at + n > b.length) throw new RangeError(`a message of ${b.length} bytes is no protobuf`);
    at += n;
    return b.subarray(at - n, at);
  };
  while (at < b.length) {
    const tag = Number(varint());
    switch (tag & 7) {
      case 0: field(tag >>> 3, varint()); break;
      case 1: skip(8); break;
      case 2: field(tag >>> 3, skip(Number(varint()))); break;
      case 5: skip(4); break;
      default: throw new RangeError(`a message of ${b.length} bytes is no protobuf`);
    }
  }
}

/** Decodes an AppendResponse. */
export function decodeStored(b: Uint8Array): Stored {
  const s: Stored = { first: 0, count: 0, ack: Ack.Default, duplicate: false };
  fields(b, (number, value) => {
    if (typeof value !== "bigint") return;
    switch (number) {
      case 1: s.first = Number(value); break;
      case 2: s.count = Number(value); break;
      case 3: s.ack = Number(value); break;
      case 4: s.duplicate = value !== 0n; break;
    }
  });
  return s;
}

/** The inverse of encode, for events that were rejected. */
export function decodeEvent(encoded: Uint8Array): Event {
  const text = (b: unknown): string => Buffer.from(b as Uint8Array).toString();
  const e: Event = { key: "", data: new Uint8Array() };
  fields(encoded, (_, event) => fields(event as Uint8Array, (number, value) => {
    switch (number) {
      case 1: e.key = text(value); break;
      case 2: e.data = value as Uint8Array; break;
      case 3: e.time = BigInt.asIntN(64, value as bigint); break;
      case 4: {
        let name = "", content = "";
        fields(value as Uint8Array, (n, v) => { if (n === 1) name = text(v); else content = text(v); });
        (e.attributes ??= {})[name] = content;
      }
    }
  }));
  return e;
}
