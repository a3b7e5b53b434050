// The Go client of the conformance test: see clients_test.go.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/standpipe/standpipe/client"
)

// token reads its file for each request.
type token string

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	b, err := os.ReadFile(string(t))
	return map[string]string{"authorization": "Bearer " + strings.TrimSpace(string(b))}, err
}

func (token) RequireTransportSecurity() bool { return false }

func main() {
	var o client.Options
	if len(os.Args) > 3 {
		o.Credentials = token(os.Args[3])
	}
	c, err := client.Dial(os.Args[1], o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx := context.Background()
	p := c.Publisher(os.Args[2], client.PublisherOptions{
		BatchEvents: 20, Linger: 200 * time.Microsecond, MaxBuffered: 64 << 10, RetryMax: time.Second,
		OnState: func(err error) { fmt.Fprintln(os.Stderr, "state:", err) },
	})
	var receipts []client.Receipt
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		key, data, _ := strings.Cut(in.Text(), "\t")
		receipt, err := p.Publish(ctx, client.Event{Key: key, Data: []byte(data)})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		receipts = append(receipts, receipt)
	}
	if err := p.Close(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	for _, r := range receipts {
		if offset, err := r.Wait(ctx); err != nil {
			fmt.Println("error", err)
		} else {
			fmt.Println(offset)
		}
	}
}
