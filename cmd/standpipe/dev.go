package main

import (
	"fmt"
	"net"
	"strings"

	"github.com/standpipe/standpipe/agent/config"
)

// devConfig returns the configuration of --dev, with free ports instead of those that are taken.
func devConfig() (*config.Config, error) {
	c := config.Dev(devDir)
	addresses := []*string{&c.Admin.Address}
	for i := range c.Listeners {
		if c.Listeners[i].Network == "tcp" {
			addresses = append(addresses, &c.Listeners[i].Address)
		}
	}
	var held []net.Listener // until all are chosen, so that no two are the same
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for _, address := range addresses {
		l, err := net.Listen("tcp", *address)
		if err != nil {
			l, err = net.Listen("tcp", "127.0.0.1:0")
		}
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		held = append(held, l)
		*address = l.Addr().String()
	}
	return c, nil
}

// nextSteps returns commands to try with an agent of --dev.
func nextSteps(c *config.Config) string {
	var grpc, http string
	for _, l := range c.Listeners {
		switch l.Type {
		case "grpc":
			grpc = l.Address
		case "http":
			http = l.Address
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\nstandpipe runs for trying out, with its data in ./%s. Next:\n\n", devDir)
	for _, step := range [][2]string{
		{"send a line", fmt.Sprintf("curl -d '{\"n\":1}' 'http://%s/v1/streams/clicks?key=u1'", http)},
		{"send a file", fmt.Sprintf("standpipe put clicks FILE --address %s", grpc)},
		{"look", fmt.Sprintf("standpipe status --address %s", c.Admin.Address)},
		{"the page", fmt.Sprintf("http://%s/", c.Admin.Address)},
		{"the events", fmt.Sprintf("ls -R %s/out", devDir)},
		{"a file of your own", "standpipe init"},
	} {
		fmt.Fprintf(&text, "  %-20s %s\n", step[0], step[1])
	}
	return text.String() + "\n"
}
