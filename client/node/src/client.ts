import { readFileSync } from "node:fs";
import { isIP } from "node:net";

import { Client as Channel, type ClientDuplexStream, credentials, type ChannelCredentials, type ChannelOptions, Metadata, type ServiceError, status, type StatusObject } from "@grpc/grpc-js";

import { AgentError, BufferFull, Closed, errorOf } from "./errors.js";
import { type Batch, type Next, Outbox, type PublisherOptions, settings } from "./outbox.js";
import { Ack, decodeStored, encode, type Event, request, type Stored } from "./wire.js";

/** The TLS of a connection: PEM, or the paths of files with it. */
export interface TLSOptions {
  /** The CAs of the agent's certificate. Default: those of Node.js. */
  ca?: Buffer | string;
  /** The client certificate, with its chain. */
  cert?: Buffer | string;
  /** The private key of the client certificate. */
  key?: Buffer | string;
  /** The name that the agent's certificate must have. Default: the host of the address. */
  serverName?: string;
}

export interface ClientOptions {
  /** Sent with each request; a function is called for each, for tokens that change. Without TLS it is for an agent of this host only. */
  token?: string | (() => string | Promise<string>);
  /** Needed where the agent's listener has it. true: the CAs of Node.js. */
  tls?: TLSOptions | true;
}

/** The options of a request. */
export interface AppendOptions {
  ack?: Ack;
  /** At most 128 bytes. A producer that numbers its events may send a batch again: the agent stores it once. */
  producerId?: string;
  /** The number of the first event, from 1. A batch of n events with sequence s is followed by s + n. */
  sequence?: bigint | number;
  /** In milliseconds. */
  timeout?: number;
}

const connection: ChannelOptions = {
  "grpc.max_send_message_length": -1,
  "grpc.enable_http_proxy": 0,
  "grpc.enable_retries": 0,
  "grpc.use_local_subchannel_pool": 1,
  // An agent that starts again is found soon.
  "grpc.initial_reconnect_backoff_ms": 50,
  "grpc.min_reconnect_backoff_ms": 50,
  "grpc.max_reconnect_backoff_ms": 1000,
  // An agent that owes a response is probed after 30 s, and has 10 s to respond to the probe.
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
};

const service = "/standpipe.v1.Ingest/";
const same = (b: Buffer): Buffer => b;

/** Whether the traffic to the address stays on this host. It throws for an address that is not allowed. */
function isLocal(address: string): boolean {
  if (address.startsWith("unix:///")) return true;
  const parts = /^(.*):(\d+)$/.exec(address);
  if (!parts || parts[1]!.includes("/")) throw new RangeError(`address ${JSON.stringify(address)}: host:port and unix:///path are allowed`);
  const host = parts[1]!.replace(/^\[|\]$/g, "");
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

const pem = (s: Buffer | string | undefined): Buffer | null =>
  s === undefined ? null : typeof s !== "string" ? s : s.includes("-----BEGIN") ? Buffer.from(s) : readFileSync(s);

/** A connection to an agent at host:port or unix:///path. It connects at the first request, and again when the connection breaks. */
export class Client {
  /** @internal */ readonly channel: Channel;
  private readonly publishers = new Set<Publisher>();
  private closed = false;

  constructor(address = "127.0.0.1:7710", private readonly options: ClientOptions = {}) {
    if (options.token !== undefined && !options.tls && !isLocal(address)) {
      throw new RangeError(`dial ${address}: a token without TLS is for this host only`);
    }
    isLocal(address);
    let secure: ChannelCredentials = credentials.createInsecure();
    const o = { ...connection };
    if (options.tls) {
      const tls = options.tls === true ? {} : options.tls;
      secure = credentials.createSsl(pem(tls.ca), pem(tls.key), pem(tls.cert));
      if (tls.serverName) o["grpc.ssl_target_name_override"] = tls.serverName;
    }
    this.channel = new Channel(address, secure, o);
  }

  /** @internal The metadata of a call, with the token of now. */
  async metadata(): Promise<Metadata> {
    const m = new Metadata();
    const { token } = this.options;
    if (token !== undefined) m.set("authorization", `Bearer ${typeof token === "function" ? await token() : token}`);
    return m;
  }

  /**
   * Stores events, all or none, and returns their place once they have reached the ack level. It does not try again by itself. It
   * rejects with an AgentError.
   */
  async append(stream: string, events: readonly Event[], o: AppendOptions = {}): Promise<Stored> {
    const body = request(stream, events.map(encode), o.ack ?? Ack.Default, o.producerId ?? "", BigInt(o.sequence ?? 0));
    const metadata = await this.metadata();
    const call = o.timeout === undefined ? {} : { deadline: Date.now() + o.timeout };
    return new Promise((resolve, reject) => {
      this.channel.makeUnaryRequest(`${service}Append`, same, decodeStored, body, metadata, call, (e, stored) =>
        e ? reject(errorOf(e)) : resolve(stored!));
    });
  }

  /** A publisher to a stream, which has to be closed. */
  publisher(stream: string, options: PublisherOptions = {}): Publisher {
    if (this.closed) throw new Closed("the client is closed");
    const p = new Publisher(this, stream, options);
    this.publishers.add(p);
    void p.ended.then(() => this.publishers.delete(p));
    return p;
  }

  /** Closes the connection. Publishers that are not closed end at once. */
  async close(): Promise<void> {
    this.closed = true;
    const all = [...this.publishers];
    for (const p of all) p.hurry();
    await Promise.all(all.map((p) => p.ended));
    this.channel.close();
  }
}

/** Stands for a published event. It may be thrown away. */
export class Receipt {
  /** @internal */
  constructor(private readonly batch: Batch, private readonly index: number) {}

  /** Whether the event has its response. */
  get done(): boolean {
    return this.batch.left === 0;
  }

  /**
   * Waits for the response, and returns the event's offset; 0: stored, but the offset is not known. It rejects with AgentError, Closed
   * or GivenUp for an event that is not stored, or not known to be.
   */
  async result(): Promise<number> {
    if (!this.done) await settled(this.batch);
    return this.batch.result(this.index);
  }
}

const blocked: Next = { wait: Infinity, done: false };

const settled = (batch: Batch): Promise<void> => new Promise((resolve) => batch.waiters.push(resolve));

/**
 * Sends events to one stream in the background: it gathers them into requests, and sends many of those before the first is answered.
 *
 * When the connection breaks, or the agent is stopped, killed, full or draining, it retries for as long as it takes and resumes at
 * the first request without a response. The agent recognises stored events: none is stored twice while the publisher lives. Events
 * without a response are in this process's memory only.
 */
export class Publisher {
  /** @internal Resolves when the publisher is closed and has no work left. */
  readonly ended: Promise<void>;
  private readonly box: Outbox;
  private readonly waiting: (() => void)[] = []; // for room
  private wakeup: (() => void) | null = null; // of the sender or of run
  private call: ClientDuplexStream<Buffer, Stored> | null = null;
  private stopping = false;
  private result: Promise<void> | null = null;

  /** @internal */
  constructor(private readonly client: Client, stream: string, options: PublisherOptions) {
    this.box = new Outbox(stream, settings(options));
    this.ended = this.run();
  }

  /**
   * Copies an event into the buffer; it waits while the buffer is full. It rejects with Closed, or with a RangeError or TypeError for
   * an event that cannot be encoded or is larger than the buffer. Nothing will be sent then.
   */
  async publish(event: Event): Promise<Receipt> {
    const encoded = encode(event);
    const weight = encoded.length + 64;
    while (!this.box.fits(weight) && !this.box.closing) {
      this.box.check(weight);
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    return this.add(encoded, weight);
  }

  /** publish that does not wait. It throws BufferFull too. */
  publishNow(event: Event): Receipt {
    const encoded = encode(event);
    const weight = encoded.length + 64;
    if (!this.box.fits(weight) && !this.box.closing) {
      this.box.check(weight);
      throw new BufferFull(`publish to ${this.box.stream}: the buffer of ${this.box.o.maxBuffered} bytes is full`);
    }
    return this.add(encoded, weight);
  }

  private add(encoded: Buffer, weight: number): Receipt {
    const { batch, index, news } = this.box.add(encoded, weight);
    if (news) this.wake();
    return new Receipt(batch, index);
  }

  /**
   * Sends the buffered events without waiting for more, and resolves when each has its response. It rejects with NotStored if events
   * were rejected since the last flush.
   */
  async flush(): Promise<void> {
    const last = this.box.lastBatch();
    this.wake();
    if (last) await settled(last);
    const refused = this.box.refusals("flush");
    if (refused) throw refused;
  }

  /**
   * Accepts no further event, flushes and ends the publisher. After timeout milliseconds the rest has the error Closed. It rejects with
   * NotStored, which counts the rest too. A second call has the result of the first.
   */
  close(timeout = Infinity): Promise<void> {
    this.result ??= this.finish(timeout);
    return this.result;
  }

  private async finish(timeout: number): Promise<void> {
    this.box.closing = true;
    this.box.cut();
    this.change([]);
    const timer = timeout === Infinity ? null : setTimeout(() => this.hurry(), timeout);
    await this.ended;
    if (timer) clearTimeout(timer);
    const refused = this.box.refusals("close");
    if (refused) throw refused;
  }

  /** @internal Ends the publisher without waiting for responses. */
  hurry(): void {
    this.stopping = true;
    this.call?.cancel();
    this.wake();
  }

  private wake(): void {
    const wakeup = this.wakeup;
    this.wakeup = null;
    wakeup?.();
  }

  /** Wakes the sender, and all that wait for room or for the results of the settled batches. */
  private change(batches: Batch[]): void {
    this.wake();
    for (const resolve of this.waiting.splice(0)) resolve();
    for (const batch of batches) for (const resolve of batch.waiters.splice(0)) resolve();
  }

  /** Waits for a time, or until wake. */
  private sleep(time: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = time === Infinity ? undefined : setTimeout(() => this.wake(), Math.min(time, 2 ** 31 - 1));
      this.wakeup = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Opens one stream after another for as long as there is something to send. */
  private async run(): Promise<void> {
    const { box } = this;
    await Promise.resolve(); // the constructor returns first
    while (!this.stopping) {
      if (!box.waiting) {
        if (box.closing) break;
        await this.sleep(Infinity);
        continue;
      }
      const { delay, settled } = box.conclude(await this.stream());
      this.change(settled);
      for (const end = performance.now() + delay; !this.stopping; ) {
        const left = end - performance.now();
        if (left <= 0) break;
        await this.sleep(left);
      }
      this.change(box.giveUp());
    }
    this.change(box.end());
  }

  /** Sends over one AppendStream, from the first request without a response on, and returns its end. */
  private async stream(): Promise<AgentError> {
    this.box.rewind();
    let metadata: Metadata;
    try {
      metadata = await this.client.metadata();
    } catch (e) { // a token that cannot be read is worth another try
      return new AgentError(status.UNAVAILABLE, `get the token: ${e instanceof Error ? e.message : e}`);
    }
    if (this.stopping) return new AgentError(status.CANCELLED, "the publisher ends");
    const call = this.client.channel.makeBidiStreamRequest(`${service}AppendStream`, same, decodeStored, metadata);
    this.call = call;
    let wrong: AgentError | null = null;
    let over = false;
    const end = new Promise<AgentError>((resolve) => {
      call.on("data", (stored: Stored) => {
        try {
          if (!over) this.change(this.box.answered(stored.count, stored.first));
        } catch (e) {
          wrong ??= e as AgentError;
          call.cancel();
        }
      });
      call.on("error", (e: ServiceError) => resolve(wrong ?? errorOf(e)));
      call.on("status", (s: StatusObject) => {
        if (s.code === status.OK) resolve(wrong ?? new AgentError(status.UNAVAILABLE, "the agent ended the stream"));
      });
    });
    void end.then(() => {
      over = true;
      this.wake();
    });
    const watch = this.watch(call);
    await this.send(call, () => over);
    const error = await end;
    clearTimeout(watch.timer);
    this.call = null;
    return error;
  }

  /** Sends requests as they may be sent, until the stream is over. */
  private async send(call: ClientDuplexStream<Buffer, Stored>, over: () => boolean): Promise<void> {
    call.on("drain", () => this.wake());
    while (!over()) {
      const { body, wait, done } = call.writableNeedDrain ? blocked : this.box.next();
      if (body) {
        call.write(body);
      } else if (done) {
        call.end();
        return;
      } else {
        await this.sleep(wait);
      }
    }
  }

  /** Cancels the call when events have waited for as long as giveUp without any response. */
  private watch(call: ClientDuplexStream<Buffer, Stored>): { timer: NodeJS.Timeout | undefined } {
    const watch: { timer: NodeJS.Timeout | undefined } = { timer: undefined };
    const look = (): void => {
      const patience = this.box.patience();
      if (patience <= 0) call.cancel();
      else if (patience !== Infinity) watch.timer = setTimeout(look, Math.min(patience, 2 ** 31 - 1));
    };
    look();
    return watch;
  }
}
