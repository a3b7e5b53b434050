"""Publishes N events of SIZE bytes with the default settings, and prints the events a second: see rates_test.go."""

import asyncio
import sys
import time

import standpipe
import standpipe.aio

how, address, stream, n, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
data = b'"' + b"x" * (size - 2) + b'"'


def threads() -> None:
    with standpipe.Client(address) as client, client.publisher(stream) as publisher:
        for i in range(n):
            publisher.publish(f"key-{i % 1000}", data)


async def tasks() -> None:
    async with standpipe.aio.Client(address) as client, client.publisher(stream) as publisher:
        for i in range(n):
            await publisher.publish(f"key-{i % 1000}", data)


began = time.monotonic()
if how == "asyncio":
    asyncio.run(tasks())
else:
    threads()
print(n / (time.monotonic() - began))
