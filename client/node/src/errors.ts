import { type ServiceError, status, type StatusObject } from "@grpc/grpc-js";

import { fields } from "./wire.js";

/** AgentError.event of a request that was rejected as a whole. */
export const NO_EVENT = -1;

/** The base of all errors of this package. */
export class StandpipeError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The buffer has no room. The event is not sent. */
export class BufferFull extends StandpipeError {}

/** The publisher is closed. Of an event without a response: whether it is stored is not known. */
export class Closed extends StandpipeError {}

/** Events were without a response for as long as giveUp. Whether they are stored is not known. */
export class GivenUp extends StandpipeError {}

/** Events were rejected since the last flush. The cause is the first one's error. */
export class NotStored extends StandpipeError {
  constructor(message: string, readonly count: number, cause: Error) {
    super(message, { cause });
  }
}

export interface AgentErrorDetails {
  /** The agent's word, as "too_large" or "full". Empty: the error is not the agent's. */
  reason?: string;
  /** The index, from 0, of the event that breaks a rule in its request, or NO_EVENT. */
  event?: number;
  /** The delay in milliseconds that the agent requests before a retry; 0: none. */
  retryAfter?: number;
  /** The sequence that the agent expects, of a request that it rejected for its sequence; else 0. */
  nextSequence?: number;
}

const FINAL = new Set([status.INVALID_ARGUMENT, status.NOT_FOUND, status.PERMISSION_DENIED, status.UNAUTHENTICATED, status.UNIMPLEMENTED]);

/** The reason for which events are not stored, or for which this is not known. */
export class AgentError extends StandpipeError implements Required<AgentErrorDetails> {
  readonly reason: string;
  readonly event: number;
  readonly retryAfter: number;
  readonly nextSequence: number;

  constructor(readonly code: status, readonly text: string, details: AgentErrorDetails = {}) {
    super(`${status[code] ?? code}: ${text}`);
    this.reason = details.reason ?? "";
    this.event = details.event ?? NO_EVENT;
    this.retryAfter = details.retryAfter ?? 0;
    this.nextSequence = details.nextSequence ?? 0;
  }

  /**
   * Whether the same request would be rejected again: nothing of it is stored. Other errors are worth a retry; their outcome is
   * unknown unless the text excludes it.
   */
  get final(): boolean {
    return FINAL.has(this.code) || this.tooLarge;
  }

  /** The agent requests a delay when it has no room; without one the request is over its size. */
  get tooLarge(): boolean {
    return this.code === status.RESOURCE_EXHAUSTED && this.retryAfter === 0;
  }

  /** Whether the agent rejected the sender, not an event. */
  get unadmitted(): boolean {
    return this.code === status.UNAUTHENTICATED || this.code === status.PERMISSION_DENIED;
  }

  /** The error of the one event that it names. */
  alone(): AgentError {
    const prefix = `event ${this.event}: `;
    const text = this.text.startsWith(prefix) ? this.text.slice(prefix.length) : this.text;
    return new AgentError(this.code, text, { reason: this.reason, retryAfter: this.retryAfter });
  }
}

/** The error of a call, with the details of its trailing metadata. */
export function errorOf(e: ServiceError | StatusObject): AgentError {
  const details: AgentErrorDetails = {};
  for (const value of e.metadata?.get("grpc-status-details-bin") ?? []) {
    try {
      fields(value as Buffer, (number, any) => {
        if (number === 3) addDetail(any as Uint8Array, details);
      });
    } catch {
      // a proxy's
    }
  }
  return new AgentError(e.code, e.details, details);
}

/** Adds a google.protobuf.Any: a RetryInfo or an ErrorInfo of google.rpc. */
function addDetail(any: Uint8Array, details: AgentErrorDetails): void {
  let type = "";
  let value = new Uint8Array();
  fields(any, (number, v) => {
    if (number === 1) type = text(v);
    if (number === 2) value = v as Uint8Array<ArrayBuffer>;
  });
  if (type.endsWith("/google.rpc.RetryInfo")) {
    fields(value, (_, delay) => fields(delay as Uint8Array, (number, v) => {
      details.retryAfter = (details.retryAfter ?? 0) + (number === 1 ? Number(v) * 1000 : Number(v) / 1e6);
    }));
  }
  if (type.endsWith("/google.rpc.ErrorInfo")) {
    fields(value, (number, v) => {
      if (number === 1) details.reason = text(v).toLowerCase();
      if (number !== 3) return;
      let name = "", content = "";
      fields(v as Uint8Array, (n, part) => { if (n === 1) name = text(part); else content = text(part); });
      if (name === "event" && /^\d+$/.test(content)) details.event = Number(content);
      if (name === "next_sequence" && /^\d+$/.test(content)) details.nextSequence = Number(content);
    });
  }
}

const text = (b: bigint | Uint8Array): string => Buffer.from(b as Uint8Array).toString();
