//go:build !linux && !darwin

package dial

import (
	"net"
	"time"
)

func queued(*net.TCPConn) int { return 0 }

func stateOf(*net.TCPConn) (state, bool) { return state{}, false }

func setUserTimeout(*net.TCPConn, time.Duration) {}
