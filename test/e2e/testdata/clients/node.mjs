// The Node.js client of the conformance test: see clients_test.go.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { Client, NotStored } from "standpipe";

const [address, stream, tokenFile] = process.argv.slice(2);
const client = new Client(address, tokenFile ? { token: () => readFileSync(tokenFile, "utf8").trim() } : {});
const publisher = client.publisher(stream, {
  batchEvents: 20, linger: 0.2, maxBuffered: 64 << 10, retryMax: 1000, onState: (e) => console.error("state:", e?.message ?? null),
});
const receipts = [];
for await (const line of createInterface({ input: process.stdin })) {
  const at = line.indexOf("\t");
  receipts.push(await publisher.publish({ key: line.slice(0, at), data: line.slice(at + 1) }));
}
try {
  await publisher.close();
} catch (e) {
  if (!(e instanceof NotStored)) throw e;
  console.error(e.message);
}
for (const receipt of receipts) console.log(await receipt.result().catch((e) => `error ${e.message}`));
await client.close();
