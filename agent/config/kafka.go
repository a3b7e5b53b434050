package config

import (
	"slices"
	"strings"

	"github.com/standpipe/standpipe/agent/config/internal/odd"
	"github.com/standpipe/standpipe/agent/config/internal/rule"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// Kafka is the settings that only a kafka destination has.
type Kafka struct {
	Brokers     List   // host:port
	Topic       string // may contain ${stream}
	Delivery    string // at_least_once or exactly_once
	Compression string // none, gzip, snappy, lz4 or zstd
	SASL        SASL
	TLS         ClientTLS
}

// SASL is the login at a Kafka broker.
type SASL struct {
	Mechanism              string // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM; empty: no login
	Username, PasswordFile string // PLAIN and SCRAM
	TokenFile              string // OAUTHBEARER
}

var kafkaType = destinationType{
	name: "kafka",
	meaning: "A topic of Apache Kafka. A record is one event, with acks = all from an idempotent producer. " +
		"The settings of AWS are for the mechanism AWS_MSK_IAM.",
	shared: shared{aws: true, bandwidth: true, envelope: true, msgpack: true, delay: true},
	own: []schema.Setting[Destination]{
		schema.Joined("brokers", `a list of brokers, like ["kafka-1:9092", "kafka-2:9092"]`, func(d *Destination) *List { return &d.Kafka.Brokers }, rule.Broker).Needed().
			Means("Some brokers of the cluster. They name the others."),
		marked("topic", kafkaTopic, func(d *Destination) *string { return &d.Kafka.Topic }, rule.Topic).Needed().
			Means("The topic. ${stream} is replaced by the name of the event's stream."),
		schema.Word("delivery", func(d *Destination) *string { return &d.Kafka.Delivery }, "at_least_once", "exactly_once").
			Means("exactly_once stores events and the checkpoint in one transaction: consumers that read only committed records see each event once."),
		schema.Word("compression", func(d *Destination) *string { return &d.Kafka.Compression }, "none", "gzip", "snappy", "lz4", "zstd").
			Means("The compression of record batches. Consumers decompress them without a setting."),
	},
	blocks: []schema.Child[Destination]{
		schema.Inner("sasl", &saslSection, func(d *Destination) *SASL { return &d.Kafka.SASL }).
			Means("The login at the brokers."),
		schema.Inner("tls", &clientTLSSection, func(d *Destination) *ClientTLS { return &d.Kafka.TLS }).
			Means("Connects with TLS."),
	},
	check: func(b *schema.Block, d *Destination) {
		if b.Wrote("brokers") && d.Kafka.Brokers == "" {
			b.Fault(b.At("brokers"), "brokers: the list is empty; needed is at least one broker")
		}
		if d.Kafka.SASL.Mechanism == mskIAM && !b.Has("tls") {
			b.Fault(b.Head, "%s has mechanism = %q without TLS, which Amazon MSK needs for it; allowed is %s beside a tls block", b.Name, mskIAM, mskIAM)
		}
	},
	defaults: func(d *Destination) { d.Kafka.Delivery, d.Kafka.Compression = "at_least_once", "none" },
	price: func(p Prices, u Usage) (float64, bool) {
		return p.KafkaGB * u.BilledBytes / PricedGB, p.KafkaGB > 0
	},
}

const (
	mskIAM = "AWS_MSK_IAM"

	kafkaTopic = "the name of a topic, with up to 249 characters of A-Z a-z 0-9 . _ -"
)

// saslLogins lists the settings that each mechanism needs.
var saslLogins = map[string][]string{
	"PLAIN":         {"username", "password_file"},
	"SCRAM-SHA-256": {"username", "password_file"},
	"SCRAM-SHA-512": {"username", "password_file"},
	"OAUTHBEARER":   {"token_file"},
	mskIAM:          nil,
}

var saslSection = schema.Section[SASL]{
	Settings: []schema.Setting[SASL]{
		schema.Word("mechanism", func(s *SASL) *string { return &s.Mechanism }, "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", mskIAM).Needed().
			Means("The mechanism. AWS_MSK_IAM signs with the credentials of the settings of AWS."),
		schema.Text("username", `a name, like "standpipe"`, func(s *SASL) *string { return &s.Username }, schema.NotEmpty).
			Means("The user, for PLAIN and SCRAM."),
		schema.Text("password_file", "the path of a file with a password", func(s *SASL) *string { return &s.PasswordFile }, schema.NotEmpty).Warns(odd.Path).
			Means("The file with the user's password. A changed file is read again."),
		schema.Text("token_file", "the path of a file with a token", func(s *SASL) *string { return &s.TokenFile }, schema.NotEmpty).Warns(odd.Path).
			Means("The file with the token, for OAUTHBEARER. A changed file is read again."),
	},
	Check: checkSASL,
}

// checkSASL requires the settings of the mechanism, and no others.
func checkSASL(b *schema.Block, s *SASL) {
	if !b.Wrote("mechanism") {
		return
	}
	needed := saslLogins[s.Mechanism]
	for _, name := range []string{"username", "password_file", "token_file"} {
		_, written := b.Attribute(name)
		switch needs := slices.Contains(needed, name); {
		case needs && !written:
			b.Fault(b.At("mechanism"), "mechanism: %s has no %s; needed is %s", s.Mechanism, name, strings.Join(needed, " and "))
		case !needs && b.Wrote(name):
			b.Fault(b.At(name), "%s: the mechanism %s has no use for it; allowed is %s", name, s.Mechanism, allowedOf(needed))
		}
	}
}

func allowedOf(names []string) string {
	if len(names) == 0 {
		return "mechanism alone"
	}
	return "mechanism with " + strings.Join(names, " and ")
}
