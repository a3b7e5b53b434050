export { Client, Publisher, Receipt, type AppendOptions, type ClientOptions, type TLSOptions } from "./client.js";
export { AgentError, BufferFull, Closed, GivenUp, NO_EVENT, NotStored, StandpipeError, type AgentErrorDetails } from "./errors.js";
export { type Logger, type PublisherOptions } from "./outbox.js";
export { Ack, type Event, type Stored } from "./wire.js";
