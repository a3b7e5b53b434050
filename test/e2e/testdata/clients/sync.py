"""The Python client of the conformance test, with threads: see clients_test.go."""

import sys

import standpipe

address, stream = sys.argv[1:3]
token = (lambda: open(sys.argv[3]).read().strip()) if len(sys.argv) > 3 else None
with standpipe.Client(address, token=token) as client:
    publisher = client.publisher(
        stream, batch_events=20, linger=0.0002, max_buffered=64 << 10, retry_max=1.0,
        on_state=lambda e: print("state:", e, file=sys.stderr),
    )
    receipts = []
    for line in sys.stdin:
        key, data = line.rstrip("\n").split("\t", 1)
        receipts.append(publisher.publish(key, data))
    try:
        publisher.close()
    except standpipe.NotStored as e:
        print(e, file=sys.stderr)
    for receipt in receipts:
        try:
            print(receipt.result(0))
        except standpipe.StandpipeError as e:
            print("error", e)
