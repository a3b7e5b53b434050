// Package mqttin is the listener for MQTT 3.1.1 and 5. It takes publishes only.
//
// # Contract
//
// A PUBLISH is a request with one event. Its topic decides on the stream and the partition key (package topicmap). PUBACK and
// PUBREC leave in the order of the PUBLISH packets, each after its event has reached the ack level of its stream; by default that
// is after the sync. QoS 0 has the ack level accepted.
//
// A rejected publish is never acknowledged as stored. A client of version 5 gets PUBACK or PUBREC with a reason code from
// 0x80 on, and quota exceeded (0x97) while the log is full. A client of version 3.1.1 is disconnected without the acknowledgement,
// since that cannot be negative, and later publishes of the connection are not stored: the client sends all of them again,
// in order. A rejected publish of QoS 0 is counted, and nothing else.
//
// QoS 2 is stored once, also through a crash of the agent, for a client whose session outlives the connection (no clean session in
// version 3.1.1, an expiry in version 5). The invariant: from PUBLISH to PUBCOMP, the log has the receipt of a publish if and only if
// it has its event. The event and its receipt, which has the client, the packet identifier and a sum of topic and payload,
// are in one commit. PUBCOMP comes after the commit that discards the receipt, since the client then uses the identifier for
// another publish. A publish with DUP, a held identifier and the same sum is a repeat: it gets PUBREC and is not stored. Every other
// one is stored, so a client that has lost its session loses no event. A session of an earlier run of the agent is restored from its
// receipts; a session that ends discards them before the next one begins. Without a receipt, a repeat is stored again: after
// its eviction (package receipt) and in a copy of the log. With the ack level delivered, a repeat gets PUBREC once the stored event,
// whose offset the receipt has, is delivered.
//
// Sessions are kept for their expiry, of at most 7 days. A session without a receipt ends with the agent.
//
// Each subscription is rejected in its SUBACK. A second connection of a client takes the place of the first one, after
// the first one has ended. Two identities may use the same client identifier.
//
// Publishes are pipelined: one goroutine of a connection reads, checks and submits. Another one awaits the outcomes in order
// and acknowledges; it runs while there are some, so that an idle client costs one goroutine. So all publishes in flight, of one client and of all, share commits. Drain acknowledges all submitted publishes, sends DISCONNECT with "server shutting down" and closes.
//
// # Assumptions
//
// The codec is package packets of mochi-mqtt. Its server is not used. It acknowledges a publish in the goroutine that reads, as
// soon as its hook returns: each publish of a client would wait for a commit of its own. It also allocates the announced size of a
// packet before a byte of it has arrived.
//
// # Limits
//
// A packet has at most max_request_size bytes; one that is no PUBLISH, and the first one, at most 512 KiB; the properties of a
// PUBLISH at most 128 KiB. A session holds at most 1,024 packet identifiers of QoS 2. 256 publishes of a client may await their acknowledgement, which is the receive
// maximum in version 5; reading stops meanwhile. The unfinished packets of all connections share a budget; the first 64 KiB of
// each are not counted, and a client that exceeds it is disconnected. A client has 10 s for its CONNECT, one and a half of its keep alive
// between packets, 30 s for a packet that has begun to arrive and again for each 256 KiB of it, and 10 s to take a write.
package mqttin
