"""Publishes payloads NAME-0 to NAME-(N-1) over MQTT and prints each one that is acknowledged: PORT NAME N QOS VERSION.

It connects again by itself, with the session that it had.
"""

import os
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

port, name, n, qos, version = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2,
    client_id=name,
    clean_session=None if version == 5 else False,
    protocol=mqtt.MQTTv5 if version == 5 else mqtt.MQTTv311,
)
client.max_queued_messages_set(0)
client.reconnect_delay_set(min_delay=0.1, max_delay=0.2)
left = threading.Semaphore(0)


def acknowledged(_client, _data, mid, code, _properties):
    payload = f"{name}-{mid - 1}"  # the library counts packet identifiers from 1
    # One write a line, so that a kill of this program leaves whole lines.
    os.write(1, f"{payload}\n".encode() if not code.is_failure else f"rejected {payload} {code}\n".encode())
    left.release()


client.on_publish = acknowledged
connected = threading.Event()
client.on_connect = lambda *_: connected.set()
options = {"clean_start": False} if version == 5 else {}
if version == 5:
    options["properties"] = Properties(PacketTypes.CONNECT)
    options["properties"].SessionExpiryInterval = 3600
client.connect_async("127.0.0.1", port, keepalive=60, **options)
client.loop_start()
connected.wait()  # the library drops publishes of QoS 0 before that
for i in range(n):
    properties = None
    if version == 5:
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [("unit", "K")]
    client.publish(f"site/1/sensor/{name}", f"{name}-{i}", qos=qos, properties=properties)
for _ in range(n):
    left.acquire()
client.disconnect()
client.loop_stop()
