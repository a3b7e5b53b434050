import { randomBytes } from "node:crypto";

import { status } from "@grpc/grpc-js";

import { AgentError, Closed, GivenUp, NotStored } from "./errors.js";
import { Ack, decodeEvent, type Event, request } from "./wire.js";

/** Gets a line when the agent takes no events, with the reason, and one when it takes them again. console is one. */
export interface Logger {
  info(line: string): void;
  warn(line: string): void;
}

/** The batches and retries of a publisher. Times are in milliseconds, sizes in bytes. */
export interface PublisherOptions {
  ack?: Ack;
  /** A request goes out when it has so many events; default 1000. */
  batchEvents?: number;
  /** Or so many bytes; default 256 KiB. */
  batchBytes?: number;
  /** Or when this time has passed since its first event; default 1. */
  linger?: number;
  /** The most requests in flight, at most 256; default 64. */
  window?: number;
  /** The most bytes of events that wait for their responses; default 16 MiB. Without room, publish waits. */
  maxBuffered?: number;
  /** The longest wait after a first failure; default 100. */
  retryInitial?: number;
  /** The longest wait after many; default 5000. */
  retryMax?: number;
  /** How long events may wait without any response before they are given up; default 0: without end. */
  giveUp?: number;
  /** Called with each event that was rejected or given up. It must not call the publisher. */
  onRefused?: (event: Event, error: Error) => void;
  /** Called with an error when the agent takes no events, and with null when it takes them again. It must not call the publisher. */
  onState?: (error: Error | null) => void;
  /** Gets a line at the same times. Default: standard error. */
  logger?: Logger;
}

const maxWindow = 256; // below the number of runs that the agent keeps of a producer

// How long a stream that is not admitted is opened again before events are rejected. It exceeds the second in which an agent
// notices a changed token file.
const admissionPatience = 3000;

// console.info writes to standard output, which belongs to the program.
const standardError: Logger = { info: (line) => console.warn(line), warn: (line) => console.warn(line) };

const defaults = {
  ack: Ack.Default, batchEvents: 1000, batchBytes: 256 << 10, linger: 1, window: 64, maxBuffered: 16 << 20, retryInitial: 100,
  retryMax: 5000, giveUp: 0, logger: standardError,
};

export type Settings = typeof defaults & PublisherOptions;

/** The options with their defaults. A RangeError names one that is not allowed. */
export function settings(o: PublisherOptions): Settings {
  const s = { ...defaults, ...o };
  for (const name of ["batchEvents", "batchBytes", "window", "maxBuffered", "retryInitial", "retryMax"] as const) {
    if (!(s[name] > 0)) throw new RangeError(`${name} is ${s[name]}; allowed is more than 0`);
  }
  for (const name of ["linger", "giveUp"] as const) {
    if (!(s[name] >= 0)) throw new RangeError(`${name} is ${s[name]}; allowed is 0 or more`);
  }
  if (s.window > maxWindow) throw new RangeError(`window is ${s.window}; allowed is at most ${maxWindow}`);
  return s;
}

/** A run of events that were published one after another. */
export class Batch {
  events: Buffer[] = []; // encoded
  size = 0;
  weight = 0;
  left = 0; // events without a result
  waiters: (() => void)[] = [];
  private first = 0; // the offset of the first event, if all were stored by one request
  private results?: Map<number, number | Error>; // if not

  constructor(readonly born: number) {}

  /** Gives the events [start, end) their results: the offset of the first of them, or an error. */
  settle(start: number, end: number, result: number | Error): void {
    if (start === 0 && end === this.events.length && typeof result === "number") {
      this.first = result;
    } else {
      this.results ??= new Map();
      for (let i = start; i < end; i++) {
        this.results.set(i, typeof result === "number" && result > 0 ? result + i - start : result);
      }
    }
    this.left -= end - start;
  }

  /** The offset of an event. It throws the event's error. */
  result(index: number): number {
    const result = this.results?.get(index) ?? (this.first > 0 ? this.first + index : 0);
    if (typeof result !== "number") throw result;
    return result;
  }
}

/** The unit on the wire: the events [start, end) of a batch. */
interface Request {
  batch: Batch;
  start: number;
  end: number;
}

const length = (r: Request): number => r.end - r.start;

/** What a sender does next: sends body, waits for a time (Infinity: until add or answered), or is done. */
export interface Next {
  body?: Buffer;
  wait: number;
  done: boolean;
}

/** The events of a publisher that have no response yet. It does no I/O. */
export class Outbox {
  buffered = 0;
  closing = false;
  producer = "";
  private last: Error | null = null; // the end of the last stream; null once something was answered since
  private open: Batch | null = null;
  private queue: Request[] = []; // the oldest first; the first sent of them are on the stream that is open
  private sent = 0;
  private window = 1;
  private base = 1; // the sequence of the first event of queue
  private doubt = 0; // events with sequences below it may be stored, though they were not answered
  private sequence = 1; // of the next request
  private answers = 0; // since the stream was opened
  private progress: number;
  private admitted = false;
  private unadmittedAt: number | null = null;
  private refused = 0;
  private firstRefusal: Error | null = null;
  private backoff: number;
  private outage: number | null = null;

  constructor(readonly stream: string, readonly o: Settings, private readonly clock: () => number = () => performance.now()) {
    this.progress = clock();
    this.backoff = o.retryInitial;
    this.renew();
  }

  /** Makes the publisher another producer, whose numbering begins anew. */
  private renew(): void {
    this.producer = randomBytes(13).toString("hex");
    this.base = 1;
    this.doubt = 0;
  }

  // Publishing.

  fits(weight: number): boolean {
    return this.buffered + weight <= this.o.maxBuffered;
  }

  /** Throws the error of an event that never fits. */
  check(weight: number): void {
    if (weight > this.o.maxBuffered) {
      throw new RangeError(`publish to ${this.stream}: an event takes ${weight} bytes of a buffer of ${this.o.maxBuffered}`);
    }
  }

  /** Adds an event and returns its place, and whether a sender that sleeps has something new to do. */
  add(encoded: Buffer, weight: number): { batch: Batch; index: number; news: boolean } {
    if (this.closing) throw new Closed(`publish to ${this.stream}: the publisher is closed`);
    let news = false;
    if (this.open && this.open.size + encoded.length > this.o.batchBytes) {
      this.cut();
      news = true;
    }
    if (!this.open) {
      this.open = new Batch(this.clock());
      if (this.queue.length === 0) this.progress = this.open.born;
      news = true;
    }
    const batch = this.open;
    batch.events.push(encoded);
    batch.size += encoded.length;
    batch.weight += weight;
    batch.left++;
    this.buffered += weight;
    const index = batch.events.length - 1;
    if (index + 1 >= this.o.batchEvents || batch.size >= this.o.batchBytes) {
      this.cut();
      news = true;
    }
    return { batch, index, news };
  }

  /** Puts the open batch into the queue. */
  cut(): void {
    if (!this.open) return;
    this.queue.push({ batch: this.open, start: 0, end: this.open.events.length });
    this.open = null;
  }

  /** Cuts, and returns the last batch without its results; null: there is none. */
  lastBatch(): Batch | null {
    this.cut();
    return this.queue.at(-1)?.batch ?? null;
  }

  get waiting(): boolean {
    return this.open !== null || this.queue.length > 0;
  }

  /** The rejections since the last call, as an error. */
  refusals(verb: string): NotStored | null {
    const count = this.refused, first = this.firstRefusal;
    this.refused = 0;
    this.firstRefusal = null;
    if (first === null) return null;
    const what = count === 1 ? "1 event was not stored" : `${count} events were not stored, the first`;
    return new NotStored(`${verb} ${this.stream}: ${what}: ${first.message}`, count, first);
  }

  // Sending.

  /**
   * Begins a stream: all requests without a response are sent again. The stream has one request in flight at first, and twice as
   * many after each response: if the first is rejected, little was sent in vain.
   */
  rewind(): void {
    this.sent = 0;
    this.answers = 0;
    this.window = 1;
    this.sequence = this.base;
  }

  next(): Next {
    if (this.sent >= this.window) return { wait: Infinity, done: false };
    if (this.sent === this.queue.length) {
      if (!this.open) return { wait: Infinity, done: this.closing };
      const wait = this.open.born + this.o.linger - this.clock();
      if (wait > 0 && !this.closing) return { wait, done: false };
      this.cut();
    }
    const r = this.queue[this.sent++]!;
    const sequence = this.sequence;
    this.sequence += length(r);
    const events = r.batch.events.slice(r.start, r.end);
    return { body: request(this.stream, events, this.o.ack, this.producer, BigInt(sequence)), wait: 0, done: false };
  }

  /** Settles the oldest request, and returns its batch if it was the last of it. */
  answered(count: number, first: number): Batch[] {
    const r = this.queue[0];
    if (!r || this.sent === 0 || count !== length(r)) {
      throw new AgentError(status.INTERNAL, `the response is for ${count} events; ${this.sent} requests have no response`);
    }
    this.queue.shift();
    this.sent--;
    this.base += length(r);
    this.answers++;
    this.window = Math.min(2 * this.window, this.o.window);
    this.progress = this.clock();
    this.last = null;
    this.admitted = true;
    this.unadmittedAt = null;
    if (this.outage !== null) {
      const seconds = ((this.clock() - this.outage) / 1000).toFixed(1);
      this.outage = null;
      this.guarded(() => this.o.logger.info(`standpipe: the agent takes events of stream ${this.stream} again, after ${seconds} s`));
      this.guarded(() => this.o.onState?.(null));
    }
    return this.settle(r, r.start, r.end, first);
  }

  private settle(r: Request, start: number, end: number, result: number | Error): Batch[] {
    if (typeof result !== "number") {
      this.firstRefusal ??= result;
      this.refused += end - start;
    }
    r.batch.settle(start, end, result);
    if (r.batch.left > 0) return [];
    this.buffered -= r.batch.weight;
    r.batch.events = [];
    return [r.batch];
  }

  // After the end of a stream.

  /** Decides the next step after the end of a stream: the delay before the next one, and the batches that are settled. */
  conclude(e: AgentError): { delay: number; settled: Batch[] } {
    this.doubted(e);
    if (this.queue.length === 0) this.cut();
    const r = this.queue[0];
    if (!r) return { delay: 0, settled: [] };
    if (e.code === status.INVALID_ARGUMENT && e.reason === "sequence") {
      // The agent has lost its state of this producer, or events that it had acknowledged from memory.
      this.renew();
      return { delay: this.pause(e), settled: [] };
    }
    if (!e.final || (e.unadmitted && this.mayBeAdmitted())) return { delay: this.pause(e), settled: [] };
    if ((e.code !== status.INVALID_ARGUMENT && !e.tooLarge) || e.reason === "no_stream") {
      const sent = this.queue.slice(0, Math.max(this.sent, 1));
      return { delay: 0, settled: sent.flatMap((r) => this.refuse(r, r.start, r.end, e)) };
    }
    if (e.event >= 0 && e.event < length(r)) {
      const at = r.start + e.event;
      return { delay: 0, settled: this.refuse(r, at, at + 1, e.alone()) };
    }
    if (length(r) > 1) { // find the faulty event, or make the request fit
      const middle = r.start + Math.floor(length(r) / 2);
      this.replace([{ ...r, end: middle }, { ...r, start: middle }]);
      return { delay: 0, settled: [] };
    }
    return { delay: 0, settled: this.refuse(r, r.start, r.end, e) };
  }

  /**
   * Notes up to where events without a response may be stored. A rejection by the agent leaves no doubt: it stores no events that
   * were sent after the rejected ones. A rejection by a proxy does.
   */
  private doubted(e: AgentError): void {
    if (this.sent === 0 || (e.final && (e.reason !== "" || e.tooLarge))) return;
    const end = this.queue.slice(0, this.sent).reduce((n, r) => n + length(r), this.base);
    this.doubt = Math.max(this.doubt, end);
  }

  /**
   * Whether a new stream, with the credentials of then, is worth another try: the agent ends the streams of a token that is rotated.
   * A publisher that never got a response counts as an unknown caller, and does not try again.
   */
  private mayBeAdmitted(): boolean {
    if (!this.admitted) return false;
    if (this.unadmittedAt === null) {
      this.unadmittedAt = this.clock();
      return true;
    }
    return this.clock() - this.unadmittedAt < admissionPatience;
  }

  private pause(e: AgentError): number {
    this.last = e;
    if (this.answers > 0) {
      this.backoff = this.o.retryInitial;
    } else if (this.outage === null) {
      this.outage = this.clock();
      this.guarded(() => this.o.logger.warn(`standpipe: events of stream ${this.stream} wait in the buffer, the agent takes none: ${e.message}`));
      this.guarded(() => this.o.onState?.(e));
    }
    const delay = Math.max(Math.random() * this.backoff, e.retryAfter);
    this.backoff = Math.min(2 * this.backoff, Math.max(this.o.retryMax, this.o.retryInitial));
    return Math.min(delay, Math.max(this.patience(), 0));
  }

  /** The time for which the publisher goes on without a response. */
  patience(): number {
    if (this.o.giveUp <= 0) return Infinity;
    return this.waiting ? this.progress + this.o.giveUp - this.clock() : this.o.giveUp;
  }

  /** Settles all that waits if patience is over. Some of it may be stored, under numbers that must not be used again. */
  giveUp(): Batch[] {
    if (this.patience() > 0) return [];
    const settled = this.abandon(new GivenUp(`given up after ${this.o.giveUp} ms without a response${this.lastTry()}`));
    this.renew();
    this.backoff = this.o.retryInitial;
    return settled;
  }

  /** Settles all that waits, for a publisher that ends. */
  end(): Batch[] {
    this.closing = true;
    return this.abandon(new Closed(`the publisher to ${this.stream} is closed; the event had no response${this.lastTry()}`));
  }

  private lastTry(): string {
    return this.last === null ? "" : `; the last try: ${this.last.message}`;
  }

  private abandon(e: Error): Batch[] {
    this.cut();
    return [...this.queue].flatMap((r) => this.drop(r, r.start, r.end, e));
  }

  /**
   * Removes the events [start, end) of the batch from the oldest request. The numbers of later events move up: an agent that has
   * stored some of them must not mistake them for stored ones, so the publisher becomes another producer for it.
   */
  private refuse(r: Request, start: number, end: number, e: Error): Batch[] {
    if (this.doubt > this.base) this.renew();
    return this.drop(r, start, end, e);
  }

  private drop(r: Request, start: number, end: number, e: Error): Batch[] {
    if (this.o.onRefused) {
      for (let i = start; i < end; i++) this.guarded(() => this.o.onRefused?.(decodeEvent(r.batch.events[i]!), e));
    }
    this.replace([{ ...r, end: start }, { ...r, start: end }].filter((part) => length(part) > 0));
    return this.settle(r, start, end, e);
  }

  /** Puts requests in the place of the oldest one. The stream has ended. */
  private replace(requests: Request[]): void {
    this.queue.splice(0, 1, ...requests);
    this.sent = 0;
  }

  /** Calls the program's function. Its errors must not end the publisher. */
  private guarded(call: () => void): void {
    try {
      call();
    } catch (e) {
      console.error("standpipe: a callback failed:", e);
    }
  }
}
