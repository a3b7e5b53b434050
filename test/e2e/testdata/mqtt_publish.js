// Publishes payloads NAME-0 to NAME-(N-1) over MQTT and prints each one that is acknowledged: URL NAME N QOS VERSION.
// It connects again by itself, with the session that it had.
const mqtt = require('mqtt')
const fs = require('fs')

const [url, name, n, qos, version] = process.argv.slice(2)
const client = mqtt.connect(url, {
  clientId: name,
  clean: false,
  protocolVersion: Number(version),
  reconnectPeriod: 100,
  keepalive: 5,
  properties: version === '5' ? { sessionExpiryInterval: 3600 } : undefined,
})
client.on('error', () => {}) // the agent is down; it connects again

let left = Number(n)
for (let i = 0; i < Number(n); i++) {
  const payload = `${name}-${i}`
  const options = { qos: Number(qos) }
  if (version === '5') options.properties = { userProperties: { unit: 'K' } }
  client.publish(`site/1/sensor/${name}`, payload, options, (error) => {
    fs.writeSync(1, error ? `rejected ${payload} ${error}\n` : `${payload}\n`)
    if (--left === 0) client.end()
  })
}
