// Kinesis for tests: node wrapper.js PORT [FOLDER]
//
// kinesalite alone binds every interface and exits on a request that is cut in the middle; this
// keeps it on loopback and up. With a FOLDER its streams survive a kill.
const kinesalite = require('kinesalite')

const port = Number(process.argv[2] || 4567)
const folder = process.argv[3]

process.on('uncaughtException', e => {
  if (e.code === 'EADDRINUSE') {
    console.error(`kinesalite: port ${port} is in use`)
    process.exit(1)
  }
  console.error('kinesalite: kept alive after', e.code || e)
})

kinesalite({
  path: folder,
  createStreamMs: 50,
  deleteStreamMs: 50,
  updateStreamMs: 100,
  shardLimit: 500,
}).listen(port, '127.0.0.1', () => console.log(`kinesalite: listening on 127.0.0.1:${port}`))
