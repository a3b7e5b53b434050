#!/usr/bin/env python3
"""Send events to a standpipe agent over its socket:  send_socket.py SOCKET STREAM [FILE]

SOCKET is the path of the agent's listener "socket", /run/standpipe/events.sock. FILE holds one
JSON object a line; without it, 300 readings are made up. An event's key is the object's field
"sensor": events of one key stay in order, all the way to the destination.

Needs nothing but Python. A request is a line of JSON, and so is its answer.
"""
import json
import socket
import sys
import threading


def lines():
    if len(sys.argv) > 3:
        return open(sys.argv[3], encoding="utf-8").read().splitlines()
    return [json.dumps({"sensor": f"pump-{n % 8}", "n": n, "value": n * 1.5}) for n in range(1, 301)]


def request(stream, line):
    # "data" is stored as compact JSON; a string would be stored as its text, "data_base64" as bytes.
    event = json.loads(line)
    return json.dumps({"stream": stream, "key": event["sensor"], "data": event, "ack": "durable"})


def send(connection, stream, events):
    # Requests need not wait for answers: those that come together share one sync to disk.
    for line in events:
        connection.sendall(request(stream, line).encode() + b"\n")
    connection.shutdown(socket.SHUT_WR)  # the agent answers what it has and closes


def main():
    path, stream, events = sys.argv[1], sys.argv[2], lines()
    offsets, refused = [], 0
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        threading.Thread(target=send, args=(connection, stream, events), daemon=True).start()
        # Answers come in the order of the requests, each when its event is on the agent's disk. A
        # request that is refused does not stop those after it.
        for number, line in enumerate(connection.makefile("r"), 1):
            answer = json.loads(line)
            if "error" in answer:
                refused += 1
                print(f"line {number}: {answer['code']}: {answer['error']}", file=sys.stderr)
            else:
                offsets.append(answer["offset"])
    print(f"stored {len(offsets)} events, offsets {offsets[0]} to {offsets[-1]}" if offsets else "stored 0 events")
    if refused or len(offsets) != len(events):
        sys.exit(f"{len(offsets)} of {len(events)} events are stored, {refused} were refused")


if len(sys.argv) < 3:
    sys.exit(__doc__)
main()
