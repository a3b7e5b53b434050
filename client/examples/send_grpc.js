#!/usr/bin/env node
// Send events to a standpipe agent over gRPC:  node send_grpc.js ADDRESS STREAM [FILE]
//
// ADDRESS is where the agent listens for gRPC: 127.0.0.1:7710 or unix:///run/standpipe/grpc.sock.
// FILE holds one JSON object a line; without it, 300 readings are made up. An event's key is the
// object's field "sensor": events of one key stay in order, all the way to the destination.
//
// Needs: npm install @grpc/grpc-js @grpc/proto-loader. No code is generated.
const fs = require('fs');
const path = require('path');
const { randomUUID } = require('crypto');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const contract = path.join(__dirname, '../../proto/standpipe/v1/standpipe.proto');
const { Ingest } = grpc.loadPackageDefinition(
  protoLoader.loadSync(contract, { keepCase: true, longs: String, enums: String })).standpipe.v1;

const BATCH = 100; // events of a request: it is stored whole or not at all, and one sync to disk serves it

const [address, stream, file] = process.argv.slice(2);
if (!stream) fail('usage: node send_grpc.js ADDRESS STREAM [FILE]');
const lines = file
  ? fs.readFileSync(file, 'utf8').split('\n').filter((line) => line !== '')
  : Array.from({ length: 300 }, (_, n) => JSON.stringify({ sensor: `pump-${n % 8}`, n: n + 1 }));
const events = lines.map((line) => ({ partition_key: JSON.parse(line).sensor, data: Buffer.from(line) }));

function fail(text) {
  console.error(text);
  process.exit(1);
}

const client = new Ingest(address, grpc.credentials.createInsecure(), { 'grpc.enable_http_proxy': 0 });
const calls = client.AppendStream();
let stored = 0;
// Answers come in the order of the requests, each when its events are on the agent's disk.
calls.on('data', (answer) => {
  stored += answer.count;
  console.log(`stored ${answer.count} events from offset ${answer.first_offset} on`);
});
// The first request that fails ends the stream; nothing after it is stored.
calls.on('error', (error) => fail(`refused after ${stored} events: ${grpc.status[error.code]}: ${error.details}`));
calls.on('end', () => {
  client.close();
  if (stored !== events.length) fail(`${stored} of ${events.length} events were answered`);
});

// Who names itself and numbers its events may send a request again whose answer was lost: the agent
// stores it once. Numbers start at 1 and rise by the events of each request.
const producer = randomUUID();
for (let at = 0; at < events.length; at += BATCH) {
  calls.write({
    stream, events: events.slice(at, at + BATCH), ack: 'ACK_DURABLE',
    producer_id: producer, producer_sequence: at + 1,
  });
}
calls.end();
