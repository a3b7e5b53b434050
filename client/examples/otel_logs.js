#!/usr/bin/env node
// Send a program's logs to a standpipe agent with OpenTelemetry's SDK:  node otel_logs.js [FILE]
//
// Nothing in here knows of standpipe. The environment says where the agent's listener with otlp is:
//
//   OTEL_SERVICE_NAME=pumps OTEL_LOGS_EXPORTER=otlp OTEL_TRACES_EXPORTER=none OTEL_METRICS_EXPORTER=none \
//   OTEL_EXPORTER_OTLP_LOGS_PROTOCOL=grpc OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=http://127.0.0.1:7710 node otel_logs.js
//
// or, with OTEL_EXPORTER_OTLP_LOGS_PROTOCOL=http/protobuf, http://127.0.0.1:7711/v1/logs. FILE holds one JSON object
// a line, and each is logged; without it, 300 readings are made up. TRACEPARENT is the trace that they belong to.
//
// Needs: npm install @opentelemetry/sdk-node @opentelemetry/api @opentelemetry/api-logs
const fs = require('fs');
const { context, propagation, ROOT_CONTEXT } = require('@opentelemetry/api');
const { logs, SeverityNumber } = require('@opentelemetry/api-logs');
const { NodeSDK } = require('@opentelemetry/sdk-node');

const file = process.argv[2];
const readings = file
  ? fs.readFileSync(file, 'utf8').split('\n').filter((line) => line !== '').map((line) => JSON.parse(line))
  : Array.from({ length: 300 }, (_, n) => ({ sensor: `pump-${n % 8}`, n: n + 1, value: n * 1.5 }));

const sdk = new NodeSDK();
sdk.start();
const log = logs.getLogger('readings');

context.with(propagation.extract(ROOT_CONTEXT, { traceparent: process.env.TRACEPARENT }), () => {
  for (const reading of readings) {
    const high = reading.value > 500;
    log.emit({
      severityNumber: high ? SeverityNumber.WARN : SeverityNumber.INFO,
      severityText: high ? 'WARN' : 'INFO',
      body: `${reading.sensor} has its reading ${reading.n}`,
      attributes: reading,
    });
  }
});

// Over http/protobuf, what the agent refuses for now is sent again for as long as OTEL_EXPORTER_OTLP_LOGS_TIMEOUT
// (10000 ms) says. Over gRPC this SDK gives it up at once.
sdk.shutdown().catch((error) => {
  console.error(error);
  process.exit(1);
});
