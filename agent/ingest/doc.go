// Package ingest is where producers hand in events: over gRPC (standpipe.v1.Ingest), over a
// socket as newline-delimited JSON, over HTTP, and as OpenTelemetry's logs.
//
// # The promise
//
// A request is stored whole or not at all (of OpenTelemetry's logs see OTLP), and is answered once it has come as far as it asked
// for. What is refused is refused before anything of it is stored, with the event's index
// (from 0), the rule, the size that was met and the size that is allowed, and never a payload. Over
// gRPC a program finds the same in the status's details: google.rpc.ErrorInfo holds the reason that
// is counted and the index (metadata "event"), google.rpc.RetryInfo when to try again.
// On one AppendStream the answered requests are always a prefix of those that were sent. On one
// socket connection every request line gets one reply line, in order.
//
// # The way of a request
//
//	Append        ─┐
//	AppendStream  ─┤─► check ─► log.Submit ─► ticket ─► reply
//	socket line   ─┤
//	HTTP POST     ─┤
//	OTLP Export   ─┘   (rules of the stream)   (commit)
//
// What comes over gRPC is not decoded. An AppendRequest is read where it lies, in the pieces in which it
// arrived: its events are indexed (wal.IndexEvent), checked, and copied once, encoded as they came, into
// the log's block. A request or an event that is encoded in an unusual way, with an unknown field or one
// that is there twice, is decoded by package proto instead, and means what that says. What is no
// AppendRequest, or holds text that is not UTF-8, is INVALID_ARGUMENT.
//
// Requests of one stream or connection are pipelined: one goroutine receives, checks and submits,
// another waits for the tickets in order and replies, so that many requests share a commit. The
// receiving one stops while 4,096 requests of a gRPC stream, or 512 of a connection, wait for
// their replies. The bytes under way are bounded by the log for all listeners together.
//
// # Who may send
//
// Without a Guard, whoever reaches the listener. With one, a gRPC or HTTP request is held to it before its body is
// read, and a socket's connection when it begins; a stream or connection that stays open is held to it again when
// identities or tokens have changed. A refusal names the identity and the stream, never a token. The
// check of streams comes before the log knows of the request, that of the pace after all others: what is
// refused costs nothing of it. On a listener with a Guard the kernel is asked for the process once a connection.
//
// # Connections
//
// Of MaxConnections one more takes the place of the one that is silent for the longest time over its patience: a
// second for one on which nothing has come, else 10 s, and without end where a request waits for its answer
// (gRPC does not tell; a stream that waits for deliveries counts as silent). If there is none it is turned away:
// over HTTP with 503, on a socket with a line that says so. A gRPC connection has 10 s for its handshake and is asked
// for a sign of life after a minute of silence, so that half a frame holds it for 80 s at most. What sockets
// have read of lines that are not whole has 64 MiB, or four of the longest, for a listener together, 64 KiB of each
// not counted; a line that finds no room is passed over and refused (UNAVAILABLE).
//
// gRPC reads each request into memory as it comes and knows no bound of them together, so the frames of its connections
// are looked at as they pass (inflow). Requests that are not whole, and those of more than 64 KiB that wait for the
// log, have 64 MiB, or four of the largest, for a listener together, 64 KiB of each connection not counted. What is
// counted is what gRPC holds: its buffers, and 96 bytes for each frame, of which a byte may be all. One that finds no
// room is refused (UNAVAILABLE) and the others of its connection go on: gRPC is told that its producer has
// cancelled it, and the producer gets a status as from gRPC, whose headers need no table. Before that, who
// has not sent anything of a request for 10 s, or is slower than 30 s and as long again for every 256 KiB, loses what
// it holds. A listener has twice MaxStreams requests under way, four of each connection not counted, headers of
// 16 KiB, and keeps 128 KiB of an AppendStream that does not read on. Messages are unpacked two at a time in all of the
// process, since gRPC knows one gzip; those that wait for it packed have 64 MiB, and one without room is INTERNAL,
// which is what gRPC makes of it. What is unpacked has room like any other.
//
// 10,000 connections of which each has said a beginning and no more cost 17 KB of anonymous memory each over
// gRPC (they held 40 KB of heap while each kept a buffer to read into), 15 on a socket and 11 over HTTP, where they are
// closed after 10 s. Of 10,000 requests on 100 gRPC connections that each send 15 MiB of 16 and stop, 9,996 are
// refused, and the agent has 94 MB in all; the same with 1,000 AppendStreams on each of 10 connections (Linux 6.18, two cores,
// November 2026).
//
// # HTTP
//
//	POST /v1/streams/STREAM?key=K   the body is an event, or each line of application/x-ndjson is
//	GET  a configured path          its query is an event (Pixel)
//	POST /v1/logs                   OTLP, where it is configured
//
// A header may take 16 KiB and 10 s, a request 30 s and as long again for every 256 KiB of its body, a
// body MaxRequestSize, packed and unpacked, and 262,144 lines. All bodies of a listener together hold
// at most 64 MiB or four of the largest, 16 KiB of each not counted; one that finds no room is refused
// (503). Bodies are unpacked two at a time, once
// they have arrived whole. A request with an Origin that is not listed is refused (403): any page that
// somebody on this host looks at could send it.
//
// # OTLP
//
// Requests are protobuf, over HTTP also JSON, and an answer is in the encoding of its request. Traces and metrics are
// rejected by name. A LogRecord becomes an event of its own: a whole OTLP/JSON document with its resource and scope
// (logDocument). Records that break a rule are left out and counted in partial_success, for an SDK that is refused drops
// all that it sent along; if all do, the request is refused. The others are stored whole or not at all, and what may
// be tried again carries google.rpc.RetryInfo. The events of a request, with the resource and scope
// that each repeats, may have twice MaxRequestSize. All requests of a
// listener that are being decoded are made of at most 524,288 records, attributes and values together; they are
// counted on the wire, where an empty one takes two bytes, and one that finds no room is refused (503, UNAVAILABLE).
//
// # Levels
//
// ack accepted is answered when the log has taken the request in its queue. Its offset is not
// known then: first_offset (the socket's "offset") is 0. Until it is synced it is in memory alone: a kill or a
// power cut loses it, nobody counts it then, and the producer is not told. That lasts for commit_linger, the commit
// under way and its own. While the log is full, such a request is answered as one of durable is: refused, or once it is
// synced. What the log refuses all the same after the answer (its commit failed, or it was the first to find no room)
// is counted as refused and in standpipe_accepted_lost_events_total; on an AppendStream it ends the stream as well.
// ack delivered is answered when every destination has settled the events. When one of them was
// dead-lettered or dropped, the reply says that the level reached is durable.
//
// # Where the time goes
//
// Of the processor time of an agent with 64 unary callers of single events of 1 KiB (go test ./agent -run xxx -bench
// 'Ingest/tcp/unary/callers=64/size=1KiB/events=1$' with STANDPIPE_BENCH_PROFILE=FILE), the commit takes 28 %
// (its two syncs 13), reading HTTP/2 frames and headers 20 %, writing replies 12 %. Receiving, checking and submitting a
// request is 6 %, of which reading it off the wire is 1. When requests were decoded by goroutines of their own it was
// 14 % to receive and decode them, and 11 % to grow the goroutines' stacks. On one AppendStream of single events the
// commit takes 20 %, receiving to submitting 19 %, and the frames 13 %; decoding alone had taken 9. With 64 callers of
// 100 events a request takes the agent 490 to 560 us, of which the commit is 32 %, shipping 25 %, receiving to submitting
// 14 % and the frames 10 %; the load, whose requests are encoded already, takes 80. That was measured at 242,000 to 272,000
// events/s, 0.88 to 0.94 of L, before the log's large commits had wide leaves; since then it is 410 us and 320,000
// events/s, 1.15 of L. When the load encoded each request anew it took 470.
//
// What was tried and dropped: a pool of frame buffers that are not cleared (2 to 4 % on a stream of single events, nothing
// or less elsewhere), read buffers of 16 and 64 KiB, a look whether a ticket is done before waiting for it, and commits of 2 MiB at most: no
// difference on which two runs agreed. With GOMAXPROCS one above the processors, because the committer is in a sync for
// much of its time, 16 callers got 6 to 20 % more and posts 6 to 8, but streams from 4 % more to 5 less, and all got less on
// a busy machine.
//
// Over HTTP a post of 1 KiB costs the agent 42 to 46 us of processor time with 64 and 256 connections, of which net/http's
// own reading and writing is about half, the commit 13 % and this package, Submit among it, 19 %. x-E is the rate of
// synced answers as a part of what net/http answers at once, and x-L as a part of what it and bbolt alone allow together
// on the same two cores (go test ./agent -run '^$' -bench 'Ingest/tcp/post|PostRate' -benchtime 3s):
//
//	connections, events of 1 KiB a post   posts/s   x-E    x-L
//	    1, 1                                2,182   0.17   0.81
//	   16, 1                               12,860   0.22   0.79
//	   64, 1                               25,967   0.41   0.91
//	  256, 1                               37,435   0.51   0.78
//	1,024, 1                               30,705   0.54   0.97
//	   64, 100                              3,823   0.22   0.96
//
// L itself is 0.21 to 0.65 of E here: two syncs, and what is written, are what net/http does not do. So 0.7 of E is out of
// reach on two cores that all share: it is more than L with any number of connections, and this package, Submit among it, is
// 13 to 19 % of a post, which would not make up for it if it took nothing. At 1,000 posts a second
// that do not wait for each other's answers, half are answered within 1.1 ms, all but one in a hundred within 2.4 and all
// but one in a thousand within 3.9; net/http at once: 0.6, 1.2 and 1.5.
//
// # Stopping
//
// Stop first takes no new request, then answers what it has taken, then closes. Requests that
// are not taken are answered UNAVAILABLE or not at all; nothing of them is stored.
package ingest
