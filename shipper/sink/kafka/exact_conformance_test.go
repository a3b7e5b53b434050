package kafka_test

import (
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/ranged/rangedtest"
)

func TestExact_Conforms(t *testing.T) {
	rangedtest.Run(t, func(t *testing.T) rangedtest.Target {
		c := &cutter{plan: new(rangedtest.Plan)}
		f := startFake(t, 1, kfake.ListenFn(c.listen))
		f.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
			f.KeepControl()
			return c.control(r)
		})
		return rangedtest.Target{
			Open:  func() ranged.Sink { return openExact(t, f.options()) },
			Exact: true, Plan: c.plan,
			Faults: []rangedtest.Fault{rangedtest.Busy, rangedtest.Denied, rangedtest.Cut, rangedtest.Lost, rangedtest.Hang, rangedtest.HangDone},
			Stored: func() (all []uint64) {
				for _, r := range f.records() {
					all = append(all, idOffset(t, r))
				}
				return all
			},
		}
	})
}

// cutter has the faults of a plan. The requests that it counts are those of a transaction.
type cutter struct {
	plan *rangedtest.Plan

	mu   sync.Mutex
	next rangedtest.Fault // of the next response: Lost or HangDone
	met  func()           // of that response
}

// control handles a request that fails without an effect. The response to one with an effect is lost on its connection.
func (c *cutter) control(r kmsg.Request) (kmsg.Response, error, bool) {
	switch r.(type) {
	case *kmsg.ProduceRequest, *kmsg.InitProducerIDRequest, *kmsg.AddOffsetsToTxnRequest, *kmsg.EndTxnRequest:
	default:
		return nil, nil, false
	}
	fault, met := c.plan.Next()
	switch fault {
	case rangedtest.Lost, rangedtest.HangDone:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.next, c.met = fault, met
		return nil, nil, false
	case rangedtest.Busy:
		met()
		return failedResponse(r, kerr.CoordinatorLoadInProgress, kerr.NotEnoughReplicas), nil, true
	case rangedtest.Denied:
		met()
		return failedResponse(r, kerr.TransactionalIDAuthorizationFailed, kerr.TopicAuthorizationFailed), nil, true
	case rangedtest.Cut:
		met()
		return nil, errors.New("cut"), true
	case rangedtest.Hang:
		met()
		return nil, nil, true
	}
	return nil, nil, false
}

// failedResponse returns a response with an error of the coordinator, or for records.
func failedResponse(r kmsg.Request, coordinator, records *kerr.Error) kmsg.Response {
	switch resp := r.ResponseKind().(type) {
	case *kmsg.InitProducerIDResponse:
		resp.ErrorCode = coordinator.Code
		return resp
	case *kmsg.AddOffsetsToTxnResponse:
		resp.ErrorCode = coordinator.Code
		return resp
	case *kmsg.EndTxnResponse:
		resp.ErrorCode = coordinator.Code
		return resp
	case *kmsg.ProduceResponse:
		for _, topic := range r.(*kmsg.ProduceRequest).Topics {
			t := kmsg.NewProduceResponseTopic()
			t.Topic, t.TopicID = topic.Topic, topic.TopicID
			for _, partition := range topic.Partitions {
				p := kmsg.NewProduceResponseTopicPartition()
				p.Partition, p.ErrorCode = partition.Partition, records.Code
				t.Partitions = append(t.Partitions, p)
			}
			resp.Topics = append(resp.Topics, t)
		}
		return resp
	}
	return nil
}

func (c *cutter) listen(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	return cutListener{l, c}, err
}

type cutListener struct {
	net.Listener
	c *cutter
}

func (l cutListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return cutConn{conn, l.c}, nil
}

type cutConn struct {
	net.Conn
	c *cutter
}

func (c cutConn) Write(b []byte) (int, error) {
	c.c.mu.Lock()
	fault, met := c.c.next, c.c.met
	c.c.next = rangedtest.None
	c.c.mu.Unlock()
	switch fault {
	case rangedtest.Lost:
		met()
		c.Conn.Close()
		return 0, net.ErrClosed
	case rangedtest.HangDone:
		met()
		return len(b), nil
	}
	return c.Conn.Write(b)
}
