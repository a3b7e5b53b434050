// Publishes N events of SIZE bytes with the default settings, and prints the events a second: see rates_test.go.
import { Client } from "standpipe";

const [address, stream, n, size] = process.argv.slice(2);
const data = Buffer.from(`"${"x".repeat(Number(size) - 2)}"`);
const began = performance.now();
const client = new Client(address);
const publisher = client.publisher(stream);
for (let i = 0; i < Number(n); i++) {
  await publisher.publish({ key: `key-${i % 1000}`, data });
}
await publisher.close();
console.log(Number(n) / ((performance.now() - began) / 1000));
await client.close();
