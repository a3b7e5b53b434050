package main

import (
	"net"
	"strings"
	"testing"
)

// A port that is taken is replaced, and the steps name the port that is used.
func TestDev_ReplacesTakenPorts(t *testing.T) {
	for _, address := range []string{"127.0.0.1:7710", "127.0.0.1:7711", "127.0.0.1:7712"} {
		if l, err := net.Listen("tcp", address); err == nil { // else another program has it
			defer l.Close()
		}
	}
	c, err := devConfig()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{c.Admin.Address: true}
	for _, l := range c.Listeners {
		used[l.Address] = true
	}
	if len(used) != len(c.Listeners)+1 || used["127.0.0.1:7710"] || used["127.0.0.1:7711"] || used["127.0.0.1:7712"] {
		t.Errorf("got %v, want other ports", used)
	}
	steps := nextSteps(c)
	for address := range used {
		if !strings.HasPrefix(address, "standpipe-dev") && !strings.Contains(steps, address) {
			t.Errorf("got\n%s\nwithout %s", steps, address)
		}
	}
}
