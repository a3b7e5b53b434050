"""The asyncio publisher with an agent that takes requests and never responds."""

import asyncio
import unittest

import grpc

from standpipe import GivenUp, aio


async def silent(requests, context):  # type: ignore[no-untyped-def]
    async for _ in requests:
        pass
    await asyncio.Event().wait()
    yield b""


class GiveUpTest(unittest.IsolatedAsyncioTestCase):
    async def test_a_publisher_goes_on_after_events_that_were_given_up(self) -> None:
        server = grpc.aio.server()
        handler = grpc.stream_stream_rpc_method_handler(silent)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("standpipe.v1.Ingest", {"AppendStream": handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with aio.Client(f"127.0.0.1:{port}") as client:
            publisher = client.publisher("s", give_up=0.1)
            for _ in range(2):
                receipt = await publisher.publish("k", b"x")
                with self.assertRaises(GivenUp):
                    await receipt.result()
            self.assertFalse(publisher.ended)
        await server.stop(0)


if __name__ == "__main__":
    unittest.main()
