package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// given are the addresses that FreeAddress has returned.
var given sync.Map

// FreeAddress returns an unused address of loopback, for TCP and UDP, that no other test of this process was given.
//
// Its port is below those that the kernel gives to outgoing connections and to listeners on port 0 (32768 and above on
// Linux, 49152 elsewhere). So no other test takes it while a program that is to listen on it starts.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for {
		address := fmt.Sprint("127.0.0.1:", 10240+rand.IntN(32768-10240))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		l.Close()
		u, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		u.Close()
		if _, taken := given.LoadOrStore(address, true); !taken {
			return address
		}
	}
}
