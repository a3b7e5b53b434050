// Package gateway is a test rig for the way from an agent to its destinations when that way is a slow radio link which
// comes and goes. A World has two network namespaces with a link between them; the agent runs in one, the service in the
// other. The packets are those of the kernel's TCP, so retransmissions, backoff and lost connections are real. The
// link is a program (Link): it has a rate, a delay, a loss, a queue, and is up or down. It counts packets and bytes.
//
// A World needs Linux, root and /dev/net/tun. Without them, Open records the test as not tested and skips it. No other tool
// is needed, and nothing is left behind: the namespaces end with the threads and processes in them.
//
// The tests of this package have the rest of a gateway too: a flash card (a loop device, whose written bytes are counted), a disk
// with slow syncs (strace), and little memory (a cgroup). Each names its needs where they are missing.
//
// The measurements are tests that run for 15 minutes together. They run only where STANDPIPE_GATEWAY=long is set, and print tables:
//
//	STANDPIPE_GATEWAY=long go test -v -parallel 16 -timeout 30m ./test/gateway
//
// STANDPIPE_GATEWAY_PROGRAM names another program to measure, such as that of an earlier version. STANDPIPE_GATEWAY_MKFS is the
// command that makes the card's file system, in place of mkfs.ext4.
package gateway
