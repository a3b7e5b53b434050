//go:build unix

package kafka_test

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/kafka"
	"github.com/standpipe/standpipe/test/testkit"
)

// errorCase is a trouble of the cluster, and its classification by both sinks.
type errorCase struct {
	name   string
	fault  kfake.Fault // until it is removed
	atOnce bool        // it is there when the sink starts; otherwise events were delivered before
	sinks  string      // "both", "sink" or "exact"
	class  shipper.Class
	code   string
	texts  []string // of the error
}

func requests(err *kerr.Error, keys ...kmsg.Key) kfake.Fault {
	return kfake.Fault{Keys: keys, Err: err, Count: -1}
}

// of the request as a whole.
func whole(err *kerr.Error, key kmsg.Key) kfake.Fault {
	return kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Count: -1, TopLevel: true}
}

var errorCases = []errorCase{
	{"topic may not be seen", requests(kerr.TopicAuthorizationFailed, kmsg.Metadata), true, "both", shipper.Operator, "TOPIC_AUTHORIZATION_FAILED",
		[]string{`topic "orders"`, "allow this user Write and Describe"}},
	{"topic may not be written", requests(kerr.TopicAuthorizationFailed, kmsg.Produce), false, "both", shipper.Operator, "TOPIC_AUTHORIZATION_FAILED",
		[]string{`topic "orders"`, "allow this user Write and Describe"}},
	{"topic may not be part of a transaction", requests(kerr.TopicAuthorizationFailed, kmsg.AddPartitionsToTxn), false, "exact", shipper.Operator,
		"TOPIC_AUTHORIZATION_FAILED", []string{`topic "orders"`, "allow this user Write"}},
	{"cluster", whole(kerr.ClusterAuthorizationFailed, kmsg.InitProducerID), true, "sink", shipper.Operator, "CLUSTER_AUTHORIZATION_FAILED",
		[]string{`topic "orders"`, "IdempotentWrite on the cluster"}},
	{"transactional id", whole(kerr.TransactionalIDAuthorizationFailed, kmsg.InitProducerID), true, "exact", shipper.Operator,
		"TRANSACTIONAL_ID_AUTHORIZATION_FAILED", []string{`topic "orders"`, "Write and Describe on the transactional ID"}},
	{"group may not be read", requests(kerr.GroupAuthorizationFailed, kmsg.OffsetFetch), true, "exact", shipper.Operator, "GROUP_AUTHORIZATION_FAILED",
		[]string{`topic "orders"`, "Read and Describe on the group"}},
	{"group may not be part of a transaction", whole(kerr.GroupAuthorizationFailed, kmsg.AddOffsetsToTxn), false, "exact", shipper.Operator,
		"GROUP_AUTHORIZATION_FAILED", []string{`topic "orders"`, "Read and Describe on the group"}},
	{"group may not be written", requests(kerr.GroupAuthorizationFailed, kmsg.TxnOffsetCommit), false, "exact", shipper.Operator,
		"GROUP_AUTHORIZATION_FAILED", []string{`topic "orders"`, "Read and Describe on the group"}},
	{"transactions are too short", whole(kerr.InvalidTransactionTimeout, kmsg.InitProducerID), true, "exact", shipper.Operator,
		"INVALID_TRANSACTION_TIMEOUT", []string{`topic "orders"`, "transaction.max.timeout.ms"}},
	{"too few replicas", requests(kerr.NotEnoughReplicas, kmsg.Produce), false, "both", shipper.Transient, "NOT_ENOUGH_REPLICAS",
		[]string{`topic "orders"`, "min.insync.replicas"}},
	{"no leader", requests(kerr.LeaderNotAvailable, kmsg.Metadata), true, "both", shipper.Transient, "LEADER_NOT_AVAILABLE", []string{`topic "orders"`}},
	{"disk of a broker", requests(kerr.KafkaStorageError, kmsg.Produce), false, "both", shipper.Transient, "KAFKA_STORAGE_ERROR", []string{`topic "orders"`}},
	{"policy", requests(kerr.PolicyViolation, kmsg.Produce), false, "both", shipper.Operator, "POLICY_VIOLATION", []string{`topic "orders"`, "policy of the cluster"}},
}

// deliverOnce delivers events with one of the sinks, and returns the first error.
func deliverOnce(t *testing.T, s shipper.Sink, e *kafka.Exact, events []event) *shipper.Error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if s != nil {
		got := s.Send(ctx, recordsOf(events))
		if got.Err != nil {
			return got.Err
		}
		return got.Results[0]
	}
	if _, err := e.Recover(ctx, events[0].Offset, nil); err != nil {
		return err
	}
	if _, err := e.Add(ctx, events); err != nil {
		return &err.Error
	}
	e.Seal()
	if _, err := e.Commit(ctx); err != nil {
		return &err.Error
	}
	return nil
}

// bothSinks runs f with a sink that stores at least once, and with one that stores exactly once. One of them is nil.
func bothSinks(t *testing.T, o kafka.Options, which string, f func(t *testing.T, s shipper.Sink, e *kafka.Exact)) {
	if which != "exact" {
		t.Run("at_least_once", func(t *testing.T) {
			s, err := kafka.New(t.Context(), o)
			testkit.Must(t, err)
			defer s.Close()
			f(t, s, nil)
		})
	}
	if which != "sink" {
		t.Run("exactly_once", func(t *testing.T) {
			e := openExact(t, o)
			defer e.Close()
			f(t, nil, e)
		})
	}
}

func checkError(t *testing.T, got *shipper.Error, class shipper.Class, code string, texts ...string) {
	t.Helper()
	if got == nil || got.Class != class || code != "" && got.Code != code {
		t.Errorf("got %+v, want class %v, code %s", got, class, code)
		return
	}
	for _, text := range texts {
		if !strings.Contains(got.Text, text) {
			t.Errorf("got %q, want %q in it", got.Text, text)
		}
	}
}

// Each trouble of a cluster has its class, and a text that names the topic and, if an operator is needed, the remedy. The
// sink delivers when it is over.
func TestErrors_NameTopicAndRemedy(t *testing.T) {
	for _, test := range errorCases {
		t.Run(test.name, func(t *testing.T) {
			f := startFake(t, 1)
			events := drawEvents(t, 30)
			bothSinks(t, f.options(), test.sinks, func(t *testing.T, s shipper.Sink, e *kafka.Exact) {
				if !test.atOnce {
					if err := deliverOnce(t, s, e, events[:10]); err != nil {
						t.Fatal(err)
					}
				}
				fault := f.Fault(test.fault)
				got := deliverOnce(t, s, e, events[10:20])
				fault.Remove()
				checkError(t, got, test.class, test.code, test.texts...)
				again := time.Now().Add(15 * time.Second)
				err := got
				for err != nil && time.Now().Before(again) {
					if e != nil {
						e.Abort(t.Context())
					}
					err = deliverOnce(t, s, e, events[10:])
				}
				if err != nil {
					t.Errorf("nothing is delivered afterwards: %v", err)
				}
			})
		})
	}
}

// A topic that does not exist blocks, and is not created, whatever the brokers allow.
func TestErrors_MissingTopicIsNotCreated(t *testing.T) {
	f := startFake(t, 1, kfake.AllowAutoTopicCreation())
	o := f.options()
	o.Topic = "nowhere"
	bothSinks(t, o, "both", func(t *testing.T, s shipper.Sink, e *kafka.Exact) {
		checkError(t, deliverOnce(t, s, e, drawEvents(t, 5)), shipper.Operator, "UNKNOWN_TOPIC_OR_PARTITION", `topic "nowhere"`, "create it")
	})
	req := kmsg.NewPtrMetadataRequest()
	resp, err := req.RequestWith(t.Context(), f.client())
	testkit.Must(t, err)
	for _, topic := range resp.Topics {
		if topic.Topic != nil && *topic.Topic == "nowhere" {
			t.Error("the topic was created")
		}
	}
}

// Permissions that are only of use are not needed: to read the topic's limit, and to look for hanging records.
func TestErrors_DeliversWithoutReadPermissions(t *testing.T) {
	f := startFake(t, 1)
	f.Fault(requests(kerr.TopicAuthorizationFailed, kmsg.DescribeConfigs), requests(kerr.TopicAuthorizationFailed, kmsg.DescribeProducers),
		requests(kerr.TransactionalIDAuthorizationFailed, kmsg.DescribeTransactions))
	bothSinks(t, f.options(), "both", func(t *testing.T, s shipper.Sink, e *kafka.Exact) {
		if err := deliverOnce(t, s, e, drawEvents(t, 5)); err != nil {
			t.Error(err)
		}
	})
}

// A wrong login, and the wrong kind of port, are named. The stand-in closes the connection after a wrong password, which is
// tested with a broker.
func TestErrors_NameTheWrongLogin(t *testing.T) {
	folder := t.TempDir()
	password := write(t, folder, "password", "secret")
	ca := newAuthority(t)
	cert, key := ca.issue(t, "broker")
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	testkit.Must(t, err)
	login := kfake.Superuser("PLAIN", "agent", "secret")
	plain := func(file string) kafka.SASL {
		return kafka.SASL{Mechanism: "PLAIN", Username: "agent", PasswordFile: file}
	}
	for _, test := range []struct {
		name  string
		opts  []kfake.Opt
		sasl  kafka.SASL
		tls   *kafka.TLS
		class shipper.Class
		code  string
		text  string
	}{
		{"other mechanism", []kfake.Opt{kfake.EnableSASL(), login}, kafka.SASL{Mechanism: "AWS_MSK_IAM"}, nil, shipper.Operator, "UNSUPPORTED_SASL_MECHANISM", "choose another mechanism"},
		{"no login", []kfake.Opt{kfake.EnableSASL(), login}, kafka.SASL{}, nil, shipper.Transient, "connection", "SASL"},
		{"no password file", []kfake.Opt{kfake.EnableSASL(), login}, plain(folder + "/none"), nil, shipper.Operator, "credentials", "none"},
		{"right password", []kfake.Opt{kfake.EnableSASL(), login}, plain(password), nil, 0, "", ""},
		{"no TLS where it is needed", []kfake.Opt{kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}})}, kafka.SASL{}, nil, shipper.Transient, "connection", "is TLS missing?"},
		{"unknown authority", []kfake.Opt{kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}})}, kafka.SASL{}, &kafka.TLS{}, shipper.Operator, "tls", "authority"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := startFake(t, 1, test.opts...)
			o := f.options()
			o.SASL, o.TLS = test.sasl, test.tls
			t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
			t.Setenv("AWS_REGION", "eu-central-1")
			bothSinks(t, o, "both", func(t *testing.T, s shipper.Sink, e *kafka.Exact) {
				got := deliverOnce(t, s, e, drawEvents(t, 5))
				if test.code == "" {
					if got != nil {
						t.Error(got)
					}
					return
				}
				checkError(t, got, test.class, test.code, test.text)
			})
		})
	}
}

// A broker whose name is not known is waited for: a network may be down.
func TestErrors_WaitsForAnUnknownBroker(t *testing.T) {
	f := startFake(t, 1)
	o := f.options()
	o.Brokers = []string{"broker.invalid:9092"}
	bothSinks(t, o, "both", func(t *testing.T, s shipper.Sink, e *kafka.Exact) {
		checkError(t, deliverOnce(t, s, e, drawEvents(t, 1)), shipper.Transient, "")
	})
}
