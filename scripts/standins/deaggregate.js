// Reads a whole stream as a consumer would: node deaggregate.js ENDPOINT STREAM
//
// Prints one JSON line for each user record, in the order of its shard:
//   shard, sequenceNumber, recordKey   of the Kinesis record
//   sub, partitionKey, data            of the user record in it; data is base64
//   inRange                            whether the user record's key lies in the shard's hash range: consumers
//                                      of the official library discard an aggregated record whole when
//                                      the key of any of its user records does not (kcl/Deaggregate.java)
// and at last {"records":R,"userRecords":U}. Nothing here is standpipe's code: the records are taken
// apart by aws-kinesis-agg, with its checksum test switched on, so a bad record is an error.
const { createHash } = require('crypto')
const { KinesisClient, ListShardsCommand, GetShardIteratorCommand, GetRecordsCommand } =
  require('@aws-sdk/client-kinesis')
const { NodeHttpHandler } = require('@smithy/node-http-handler')
const { deaggregateSync } = require('aws-kinesis-agg')

const [endpoint, StreamName] = process.argv.slice(2)
if (!StreamName) {
  console.error('usage: node deaggregate.js ENDPOINT STREAM')
  process.exit(2)
}

const client = new KinesisClient({
  endpoint,
  region: 'eu-west-1',
  credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  requestHandler: new NodeHttpHandler(), // the default speaks HTTP/2 to Kinesis
})

const count = { records: 0, userRecords: 0 }

function hash(key) {
  return BigInt('0x' + createHash('md5').update(key, 'utf8').digest('hex'))
}

function takeApart(record) {
  let parts
  deaggregateSync(
    {
      data: Buffer.from(record.Data).toString('base64'),
      partitionKey: record.PartitionKey,
      sequenceNumber: record.SequenceNumber,
    },
    true,
    (err, userRecords) => {
      if (err) throw new Error(`record ${record.SequenceNumber}: ${err.message}`)
      parts = userRecords
    },
  )
  return parts
}

function print(shard, record) {
  const { StartingHashKey, EndingHashKey } = shard.HashKeyRange
  count.records++
  takeApart(record).forEach((part, sub) => {
    const h = hash(part.partitionKey)
    count.userRecords++
    process.stdout.write(JSON.stringify({
      shard: shard.ShardId,
      sequenceNumber: record.SequenceNumber,
      recordKey: record.PartitionKey,
      sub,
      partitionKey: part.partitionKey,
      inRange: h >= BigInt(StartingHashKey) && h <= BigInt(EndingHashKey),
      data: part.data,
    }) + '\n')
  })
}

async function readShard(shard) {
  let { ShardIterator } = await client.send(new GetShardIteratorCommand({
    StreamName, ShardId: shard.ShardId, ShardIteratorType: 'TRIM_HORIZON',
  }))
  while (ShardIterator) {
    const page = await client.send(new GetRecordsCommand({ ShardIterator }))
    page.Records.forEach(record => print(shard, record))
    // An open shard's iterators never end.
    if (page.Records.length === 0 && !page.MillisBehindLatest) return
    ShardIterator = page.NextShardIterator
  }
}

async function readStream() {
  let NextToken
  do {
    const page = await client.send(new ListShardsCommand(NextToken ? { NextToken } : { StreamName }))
    for (const shard of page.Shards) await readShard(shard)
    NextToken = page.NextToken
  } while (NextToken)
  process.stdout.write(JSON.stringify(count) + '\n')
}

readStream().catch(err => {
  console.error(`deaggregate: ${err.name}: ${err.message}`)
  process.exitCode = 1
})
