"""The Python client of the conformance test, with asyncio: see clients_test.go."""

import asyncio
import sys

import standpipe
import standpipe.aio


async def main() -> None:
    address, stream = sys.argv[1:3]
    token = (lambda: open(sys.argv[3]).read().strip()) if len(sys.argv) > 3 else None
    async with standpipe.aio.Client(address, token=token) as client:
        publisher = client.publisher(
            stream, batch_events=20, linger=0.0002, max_buffered=64 << 10, retry_max=1.0,
            on_state=lambda e: print("state:", e, file=sys.stderr),
        )
        receipts = []
        while line := await asyncio.to_thread(sys.stdin.readline):
            key, data = line.rstrip("\n").split("\t", 1)
            receipts.append(await publisher.publish(key, data))
        try:
            await publisher.close()
        except standpipe.NotStored as e:
            print(e, file=sys.stderr)
        for receipt in receipts:
            try:
                print(await receipt.result())
            except standpipe.StandpipeError as e:
                print("error", e)


asyncio.run(main())
