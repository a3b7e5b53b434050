#!/usr/bin/env python3
"""Send a program's logs to a standpipe agent with OpenTelemetry's SDK:  otel_logs.py [FILE]

Nothing in here knows of standpipe. The environment says where the agent's listener with otlp is:

    OTEL_SERVICE_NAME=pumps OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=http://127.0.0.1:7710 otel_logs.py

or, with OTEL_EXPORTER_OTLP_LOGS_PROTOCOL=http/protobuf, http://127.0.0.1:7711/v1/logs. FILE holds one JSON object
a line, and each is logged; without it, 300 readings are made up. TRACEPARENT is the trace that they belong to.

Needs: pip install opentelemetry-sdk opentelemetry-exporter-otlp opentelemetry-instrumentation-logging
"""
import json
import logging
import os
import sys

from opentelemetry import context, propagate
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

if os.environ.get("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc") == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
else:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter


def readings():
    if len(sys.argv) > 1:
        return [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
    return [{"sensor": f"pump-{n % 8}", "n": n, "value": n * 1.5} for n in range(1, 301)]


def main():
    provider = LoggerProvider()  # its resource is OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    log = logging.getLogger("readings")
    log.setLevel(logging.INFO)
    log.addHandler(LoggingHandler(logger_provider=provider))

    context.attach(propagate.extract({"traceparent": os.environ.get("TRACEPARENT", "")}))
    for reading in readings():
        level = logging.WARNING if reading["value"] > 500 else logging.INFO
        log.log(level, "%s has its reading %d", reading["sensor"], reading["n"], extra=reading)

    # What the agent refuses for now is sent again for as long as OTEL_EXPORTER_OTLP_LOGS_TIMEOUT (10 s) says, but not
    # after shutdown. What is given up is said on standard error.
    provider.force_flush(60_000)
    provider.shutdown()


main()
