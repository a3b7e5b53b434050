#!/usr/bin/env python3
"""Send events to a standpipe agent over gRPC:  send_grpc.py ADDRESS STREAM [FILE]

ADDRESS is where the agent listens for gRPC: 127.0.0.1:7710 or unix:///run/standpipe/grpc.sock.
FILE holds one JSON object a line; without it, 300 readings are made up. An event's key is the
object's field "sensor": events of one key stay in order, all the way to the destination.

Needs: pip install grpcio grpcio-tools   (Debian: python3-grpcio python3-grpc-tools)
The stubs are made from the contract when the program starts. To make them beforehand:
python3 -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. standpipe/v1/standpipe.proto
"""
import json
import pathlib
import sys
import uuid

import grpc

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "proto"))
pb, stubs = grpc.protos_and_services("standpipe/v1/standpipe.proto")

BATCH = 100  # events of a request: it is stored whole or not at all, and one sync to disk serves it


def lines():
    if len(sys.argv) > 3:
        return open(sys.argv[3], encoding="utf-8").read().splitlines()
    return [json.dumps({"sensor": f"pump-{n % 8}", "n": n, "value": n * 1.5}) for n in range(1, 301)]


def requests(stream, events):
    # Who names itself and numbers its events may send a request again whose answer was lost: the agent
    # stores it once. Numbers start at 1 and rise by the events of each request.
    producer = str(uuid.uuid4())
    for at in range(0, len(events), BATCH):
        yield pb.AppendRequest(stream=stream, events=events[at:at + BATCH], ack=pb.ACK_DURABLE,
                               producer_id=producer, producer_sequence=at + 1)


def main():
    address, stream = sys.argv[1], sys.argv[2]
    events = [pb.Event(partition_key=json.loads(line)["sensor"], data=line.encode()) for line in lines()]
    stored = 0
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            # Answers come in the order of the requests, each when its events are on the agent's disk.
            for answer in stubs.IngestStub(channel).AppendStream(requests(stream, events)):
                stored += answer.count
                print(f"stored {answer.count} events from offset {answer.first_offset} on")
        except grpc.RpcError as error:
            # The first request that fails ends the stream; nothing after it is stored.
            sys.exit(f"refused after {stored} events: {error.code().name}: {error.details()}")
    if stored != len(events):
        sys.exit(f"{stored} of {len(events)} events were answered")


if len(sys.argv) < 3:
    sys.exit(__doc__)
main()
