// Package gateway is a test rig for the way from an agent to its destinations when that way is a slow radio link which
// comes and goes. A World has two network namespaces with a link between them; the agent runs in one, the service in the
// other. The packets are those of the kernel's TCP, so retransmissions, backoff and lost connections are real. The
// link is a program (Link): it has a rate, a delay, a loss, a queue, and is up or down. It counts packets and bytes.
//
// A World needs Linux, root and /dev/net/tun. Without them, Open records the test as not tested and skips it. No other tool
// is needed, and nothing is left behind: the namespaces end with the threads and processes in them.
//
// The measurements of this package are tests that run for minutes. They run only where STANDPIPE_GATEWAY=long is set,
// and print a table:
//
//	STANDPIPE_GATEWAY=long go test -v -timeout 20m ./test/gateway
//
// STANDPIPE_GATEWAY_PROGRAM names another program to measure, such as that of an earlier version.
package gateway
