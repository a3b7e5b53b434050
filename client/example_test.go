package client_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/standpipe/standpipe/client"
)

// address is where the examples find an agent: 127.0.0.1:7710 where one runs with its defaults.
var address string

func Example() {
	c, err := client.Dial(address, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	p := c.Publisher("clicks", client.PublisherOptions{})
	for i := range 1000 {
		event := client.Event{Key: fmt.Sprint("user-", i%7), Data: fmt.Appendf(nil, `{"click":%d}`, i)}
		if _, err := p.Publish(context.Background(), event); err != nil {
			log.Fatal(err)
		}
	}
	if err := p.Close(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("every event is on the agent's disk")
	// Output: every event is on the agent's disk
}

func ExampleClient_Append() {
	c, err := client.Dial(address, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	offset, err := c.Append(ctx, "orders", client.Event{Key: "order-17", Data: []byte(`{"paid":true}`)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored:", offset > 0)
	// Output: stored: true
}

func ExampleReceipt_Wait() {
	c, err := client.Dial(address, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	p := c.Publisher("clicks", client.PublisherOptions{Ack: client.AckDelivered})
	defer p.Close(context.Background())
	receipt, err := p.Publish(context.Background(), client.Event{Key: "u1", Data: []byte(`{"page":"/"}`)})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := receipt.Wait(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("every destination has it")
	// Output: every destination has it
}

// A producer that numbers its events may send a batch again, also after a restart: the agent stores it once.
func ExampleClient_AppendBatch() {
	c, err := client.Dial(address, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	batch := client.Batch{
		Stream:     "readings",
		Events:     []client.Event{{Key: "meter-1", Data: []byte(`{"kwh":3}`)}, {Key: "meter-1", Data: []byte(`{"kwh":4}`)}},
		ProducerID: "gateway-17",
		Sequence:   1,
	}
	for range 2 { // as if the first response was lost
		stored, err := c.AppendBatch(context.Background(), batch)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(stored.Count, stored.Duplicate)
	}
	// Output:
	// 2 false
	// 2 true
}
