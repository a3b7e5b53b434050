package config_test

import (
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
)

const (
	topic     = `the name of a topic, with up to 249 characters of A-Z a-z 0-9 . _ -`
	brokers   = `a list of brokers, like ["kafka-1:9092", "kafka-2:9092"]`
	bucket    = `the name of a bucket: 3 to 63 characters of a-z 0-9 . -, like "events"`
	prefix    = `the beginning of the objects' names, like "raw/${stream}/dt=%Y-%m-%d/hour=%H/"`
	queueURL  = `the URL of a queue, like "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo"`
	metric    = `the name of a metric, like "events.${name}", with characters of A-Z a-z 0-9 . _ -`
	datagrams = `"udp://host:port" or "unixgram:///path", like "udp://127.0.0.1:8125"`
	tagsOf    = `up to 10 tags, like { team = "metering" }`
)

func TestFaults_OfDestinations(t *testing.T) {
	kafka := func(lines ...string) string {
		return in(`"kafka" "k"`, append([]string{`brokers = ["k:9092"]`, `topic = "t"`}, lines...)...)
	}
	s3 := func(lines ...string) string {
		return in(`"s3" "s"`, append([]string{`bucket = "events"`}, lines...)...)
	}
	statsd := func(lines ...string) string {
		return in(`"statsd" "s"`, append([]string{`address = "udp://127.0.0.1:8125"`}, lines...)...)
	}
	for _, tt := range []struct {
		name, src string
		want      []string
	}{
		{"needed settings", "stream \"a\" {\ndestination \"kafka\" \"k\" {}\ndestination \"s3\" \"s\" {}\ndestination \"sqs\" \"q\" {}\ndestination \"relay\" \"r\" {}\ndestination \"statsd\" \"d\" {}\n}", []string{
			`2:1: destination "kafka" "k" has no brokers; needed is ` + brokers,
			`2:1: destination "kafka" "k" has no topic; needed is ` + topic,
			`3:1: destination "s3" "s" has no bucket; needed is ` + bucket,
			`4:1: destination "sqs" "q" has no queue_url; needed is ` + queueURL,
			`5:1: destination "relay" "r" has no address; needed is ` + address,
			`6:1: destination "statsd" "d" has no address; needed is ` + datagrams}},
		{"a setting of stdout", in(`"stdout" "s"`, `path = "x"`), []string{
			`3:1: unknown setting "path" in destination "stdout" "s"; allowed is envelope`}},

		// kafka
		{"topics", "stream \"a\" {\n" +
			"destination \"kafka\" \"a\" {\nbrokers = [\"k:9092\"]\ntopic = \"orders/${stream}\"\n}\n" +
			"destination \"kafka\" \"b\" {\nbrokers = [\"k:9092\"]\ntopic = \"..\"\n}\n" +
			"destination \"kafka\" \"c\" {\nbrokers = [\"k:9092\"]\ntopic = \"" + strings.Repeat("x", 249) + "${stream}\"\n}\n" +
			"destination \"kafka\" \"d\" {\nbrokers = [\"k:9092\"]\ntopic = \"\"\n}\n}", []string{
			`4:9: topic: "orders/${stream}" has a character that is not of A-Z a-z 0-9 . _ -; allowed is ` + topic,
			`8:9: topic: ".." is no name of a topic; allowed is ` + topic,
			`12:9: topic: "` + strings.Repeat("x", 60) + `..." has more than 249 characters; allowed is ` + topic,
			`16:9: topic: "" is empty; allowed is ` + topic}},
		{"brokers", in(`"kafka" "k"`, `brokers = ["k", "k:0", "k:9092"]`, `topic = "t"`), []string{
			`3:12: brokers: "k" has no port; allowed is ` + brokers}},
		{"a broker without a port", in(`"kafka" "k"`, `brokers = ["k:0"]`, `topic = "t"`), []string{
			`3:12: brokers: "k:0" is no host:port; allowed is ` + brokers}},
		{"a broker twice", in(`"kafka" "k"`, `brokers = ["k:1", "k:1"]`, `topic = "t"`), []string{
			`3:19: brokers: "k:1" is given twice; allowed is ` + brokers}},
		{"no broker", in(`"kafka" "k"`, `brokers = []`, `topic = "t"`), []string{
			`3:11: brokers: the list is empty; needed is at least one broker`}},
		{"words of kafka", kafka(`delivery = "twice"`, `compression = "brotli"`, `acks = "1"`), []string{
			`5:12: delivery: "twice" is unknown; allowed is at_least_once or exactly_once`,
			`6:15: compression: "brotli" is unknown; allowed is none, gzip, snappy, lz4 or zstd`,
			`7:1: unknown setting "acks" in destination "kafka" "k"; allowed is brokers, topic, delivery, compression, bandwidth, region, endpoint, profile, role_arn, external_id, session_name or envelope`}},
		{"sasl", kafka(`sasl {`, `mechanism = "PLAIN"`, `token_file = "x"`, `}`), []string{
			`6:13: mechanism: PLAIN has no username; needed is username and password_file`,
			`6:13: mechanism: PLAIN has no password_file; needed is username and password_file`,
			`7:14: token_file: the mechanism PLAIN has no use for it; allowed is mechanism with username and password_file`}},
		{"sasl of AWS", kafka(`sasl {`, `mechanism = "AWS_MSK_IAM"`, `username = "x"`, `}`), []string{
			`2:1: destination "kafka" "k" has mechanism = "AWS_MSK_IAM" without TLS, which Amazon MSK needs for it; allowed is AWS_MSK_IAM beside a tls block`,
			`7:12: username: the mechanism AWS_MSK_IAM has no use for it; allowed is mechanism alone`}},
		{"sasl without a mechanism", kafka(`sasl { username = "x" }`, `tls { cert_file = "c" }`), []string{
			`5:1: sasl has no mechanism; needed is PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM`,
			`6:19: cert_file: there is no key_file beside it; allowed is both or none`}},
		{"a name in TLS", kafka(`tls {`, `server_name = "a b"`, `key_file = "k"`, `}`), []string{
			`6:15: server_name: "a b" is no host; allowed is a host, like "kafka.example"`,
			`7:12: key_file: there is no cert_file beside it; allowed is both or none`}},

		{"a topic that is too long for a stream", strings.Replace(in(`"kafka" "k"`, `brokers = ["k:9092"]`, `topic = "`+strings.Repeat("x", 240)+`${stream}"`), `"a"`, `"long-names"`, 1), []string{
			`4:9: topic: "` + strings.Repeat("x", 60) + `..." has more than 249 characters for stream "long-names"; allowed is ` + topic}},
		{"a queue that is too long for a stream", strings.Replace(in(`"sqs" "q"`, `queue_url = "http://h/q/${stream}"`), `"a"`, `"a.b"`, 1), []string{
			`3:13: queue_url: "http://h/q/a.b" has no account and queue name as its path for stream "a.b"; allowed is ` + queueURL}},

		// AWS
		{"a role's settings without a role", in(`"sqs" "q"`, `queue_url = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs"`, `external_id = "x1"`), []string{
			`4:15: external_id: destination "sqs" "q" has no role_arn that it could be used for; allowed is external_id beside role_arn`}},
		{"names of a role", "aws {\n  external_id = \"a b\"\n  session_name = \"x/y\"\n}", []string{
			`2:17: external_id: "a b" is no external ID: it has 2 to 1224 characters of A-Z a-z 0-9 _ + = , . @ : / -; allowed is an external ID, like "customer-42"`,
			`3:18: session_name: "x/y" is no session name: it has 2 to 64 characters of A-Z a-z 0-9 _ + = , . @ -; allowed is a name, like "gateway-17"`}},

		// s3
		{"a conversion of a prefix", s3(`prefix = "dt=%Y-%é/"`), []string{
			`4:10: prefix: "dt=%Y-%é/" has the conversion "%é", which is none of %Y %m %d %H %M %S %j %y %s %F %%; allowed is ` + prefix}},
		{"an unfinished conversion", s3(`prefix = "100%"`), []string{
			`4:10: prefix: "100%" has the conversion "%", which is none of %Y %m %d %H %M %S %j %y %s %F %%; allowed is ` + prefix}},
		{"a long prefix", s3(`prefix = "` + strings.Repeat("x", 701) + `"`), []string{
			`4:10: prefix: "` + strings.Repeat("x", 60) + `..." has more than 700 bytes; allowed is ` + prefix}},
		{"parquet with an envelope", s3(`format = "parquet"`, `envelope = true`), []string{
			`5:12: envelope: a parquet object has the envelope's fields as columns; allowed is envelope with format = "jsonl"`}},
		{"row groups of lines", s3(`row_group_size = "1MiB"`), []string{
			`4:18: row_group_size: only parquet has row groups; allowed is row_group_size with format = "parquet"`}},
		{"an object of too many parts", s3(`roll_size = "50GiB"`), []string{
			`4:13: roll_size: an upload has at most 10000 parts, of part_size = "5MiB" each; allowed is at most 50000MiB, or a larger part_size`}},
		{"small parts", s3(`part_size = "1MiB"`, `envelope = "msgpack"`), []string{
			`4:13: part_size: "1MiB" is too small; allowed is a size from 5MiB to 256MiB, like "5MiB"`,
			`5:12: envelope: "msgpack" is no text, which this destination needs; allowed is true, false or "json"`}},
		{"tags", s3(`tags = { team = "a?" }`), []string{
			`4:17: tags: "a?" is no value of a tag; allowed is ` + tagsOf}},
		{"a tag twice", s3(`tags = { a = "1", "a" = "2" }`), []string{
			`4:25: tags: "a" is given twice; allowed is ` + tagsOf}},
		{"tags that are no map", s3(`tags = ["a"]`), []string{
			`4:8: tags: ["a"] is no object; allowed is ` + tagsOf}},
		{"a tag that is a number", s3(`tags = { a = 1 }`), []string{
			`4:14: tags: 1 is a bare number, not a string in quotes; allowed is ` + tagsOf}},
		{"many tags", s3(`tags = { a="", b="", c="", d="", e="", f="", g="", h="", i="", j="", k="" }`), []string{
			`4:8: tags: an object has no 11 tags; allowed is ` + tagsOf}},
		{"one prefix twice", "stream \"a\" {\ndestination \"s3\" \"s\" { bucket = \"events\" }\ndestination \"s3\" \"t\" {\nbucket = \"events\"\nprefix = \"\"\n}\n}", []string{
			`5:10: prefix: destination "s" of stream "a" at line 2 writes objects of the same keys; allowed is a prefix or a bucket of its own`}},
		{"one prefix twice, once by the stream's name", "stream \"a\" {\ndestination \"s3\" \"s\" {\nbucket = \"events\"\nprefix = \"x/a/\"\n}\ndestination \"s3\" \"t\" {\nbucket = \"events\"\nprefix = \"x/${stream}/\"\n}\n}", []string{
			`8:10: prefix: destination "s" of stream "a" at line 2 writes objects of the same keys; allowed is a prefix or a bucket of its own`}},
		{"keys that two streams share", "stream \"b\" {\ndestination \"s3\" \"s\" {\nbucket = \"events\"\nprefix = \"raw/a-\"\n}\n}\nstream \"a-b\" {\ndestination \"s3\" \"t\" {\nbucket = \"events\"\nprefix = \"raw/\"\n}\n}", []string{
			`10:10: prefix: destination "s" of stream "b" at line 2 writes objects of the same keys; allowed is a prefix or a bucket of its own`}},
		{"keys that a pattern's stream shares", "stream \"*\" {\ndestination \"s3\" \"s\" {\nbucket = \"events\"\nprefix = \"raw/\"\n}\n}\nstream \"b\" {\ndestination \"s3\" \"t\" {\nbucket = \"events\"\nprefix = \"raw/a-\"\n}\n}", []string{
			`10:10: prefix: destination "s" of stream "*" at line 2 writes objects of the same keys; allowed is a prefix or a bucket of its own`}},

		// relay
		{"a relay to the own listener", in(`"relay" "r"`, `address = "localhost:7710"`), []string{
			`3:11: address: "localhost:7710" is the agent's own: the listener that is there by default; allowed is the address of another agent`}},
		{"a relay to a listener of all addresses", "listener \"grpc\" {\naddress = \":7711\"\ninsecure = true\n}\n" + in(`"relay" "r"`, `address = "127.0.0.1:7711"`) + "\n" +
			strings.Replace(in(`"relay" "r"`, `address = "gateway.site:7711"`), `"a"`, `"b"`, 1), []string{
			`7:11: address: "127.0.0.1:7711" is the agent's own: listener "grpc" at line 2; allowed is the address of another agent`}},
		{"a relay to the own socket", "listener \"grpc\" { address = \"unix:///run/x.sock\" }\n" + in(`"relay" "r"`, `address = "unix:///run//x.sock"`), []string{
			`4:11: address: "/run//x.sock" is the agent's own: listener "grpc" at line 1; allowed is the address of another agent`}},
		{"a relay's token without TLS", in(`"relay" "r"`, `address = "gateway.site:7710"`, `token_file = "t"`, `stream = "a/b"`), []string{
			`4:14: token_file: the token would leave the host without TLS; allowed is token_file beside a tls block, or with a loopback address`,
			`5:10: stream: "a/b" is no stream's name; allowed is the name of a stream, like "orders"`}},

		// statsd
		{"addresses of statsd", "stream \"a\" {\ndestination \"statsd\" \"a\" { address = \"127.0.0.1:8125\" }\ndestination \"statsd\" \"b\" { address = \"udp://127.0.0.1\" }\ndestination \"statsd\" \"c\" { address = \"unixgram://x\" }\n}", []string{
			`2:38: address: "127.0.0.1:8125" does not begin with udp:// or unixgram:///; allowed is ` + datagrams,
			`3:38: address: "udp://127.0.0.1" has no port; allowed is ` + datagrams,
			`4:38: address: "unixgram://x" has no absolute path of a file; allowed is ` + datagrams}},
		{"a metric's characters", statsd(`metric = "events:${stream}"`, `tags = ["a|b"]`), []string{
			`4:10: metric: "events:${stream}" has a character that is not of A-Z a-z 0-9 . _ -; allowed is ` + metric,
			`5:9: tags: "a|b" has a character that is not of A-Z a-z 0-9 . _ -; allowed is a list of fields, like ["market", "platform"]`}},
		{"a metric's variable", statsd(`metric = "events.${host}"`), []string{
			`4:20: metric: unknown variable "host"; allowed is ${stream}, ${name}, ${env.NAME} or ${env("NAME", "default")}`}},
		{"a name without a field", statsd(`metric = "events.${name}"`), []string{
			`4:10: metric: ${name} has no field; allowed is ${name} beside name_field`}},
		{"a field without a name", statsd(`metric = "events"`, `name_field = "a"`), []string{
			`5:14: name_field: metric has no ${name}; allowed is name_field with ${name} in metric`}},
		{"a timer without a value", statsd(`type = "timer"`, `sample_rate = 0`), []string{
			`4:8: type: a timer has values; allowed is timer beside value_field`,
			`5:15: sample_rate: 0 is no such number; allowed is a decimal number over 0 and at most 1 without quotes, like 0.1`}},
		{"a distribution in another flavor", statsd(`type = "distribution"`, `value_field = "v"`, `flavor = "statsd"`), []string{
			`4:8: type: flavor = "statsd" has no distributions; allowed is distribution with flavor = "dogstatsd"`}},
		{"a sampled counter", statsd(`sample_rate = 0.5`, `max_series = 0`, `interval = "0s"`), []string{
			`4:15: sample_rate: a counter is sent once an interval; allowed is sample_rate with type = "timer" or "distribution"`,
			`5:14: max_series: 0 is too low; allowed is a whole number from 1 to 1000000 without quotes, like 1000`,
			`6:12: interval: "0s" is too short; allowed is a duration of 1ms or more, like "10s"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := faultsOf(t, tt.src)
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(tt.want, "\n     "))
			}
		})
	}
}

// checkValue parses a file with one value, which has the fault want, or none.
func checkValue(t *testing.T, src, value, want, allowed string) {
	t.Helper()
	_, err := config.Parse([]byte(src), "agent.hcl")
	if want == "" && err != nil || want != "" && (err == nil || !strings.HasSuffix(err.Error(), " "+want+"; allowed is "+allowed)) {
		t.Errorf("%q: got %v, want %q", value, err, want)
	}
}

func TestBuckets(t *testing.T) {
	for name, want := range map[string]string{
		"events": "", "a.b-c9": "", strings.Repeat("x", 63): "",
		"": "is empty", "ab": "is no name of a bucket", "Events": "is no name of a bucket", "a_b": "is no name of a bucket", "-ab": "is no name of a bucket",
		"ab-": "is no name of a bucket", "a..b": "is no name of a bucket", "192.0.2.1": "is no name of a bucket", "xn--events": "is no name of a bucket",
		strings.Repeat("x", 64): "is no name of a bucket",
	} {
		checkValue(t, in(`"s3" "s"`, `bucket = "`+name+`"`), name, want, bucket)
	}
}

func TestQueueURLs(t *testing.T) {
	for url, want := range map[string]string{
		"https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo":                  "",
		"https://sqs.cn-north-1.amazonaws.com.cn/123456789012/jobs_1-A":               "",
		"http://127.0.0.1:5000/123456789012/jobs":                                     "",
		"http://localhost:9324/queue/jobs-${stream}":                                  "",
		"https://sqs.eu-west-1.amazonaws.com/123456789012/" + strings.Repeat("x", 80): "",
		"https://sqs.eu-west-1.amazonaws.com/123456789012/" + strings.Repeat("x", 81): "has no account and queue name as its path",
		"https://sqs.eu-west-1.amazonaws.com/123456789012/${stream}.fifo":             "",
		"https://sqs.eu-west-1.amazonaws.com/1234/jobs":                               "has no account of 12 digits before the queue's name",
		"https://sqs.eu-west-1.amazonaws.com/jobs":                                    "has no account and queue name as its path",
		"https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.lifo":                  "has no account and queue name as its path",
		"https://sqs.${stream}.amazonaws.com/123456789012/jobs":                       "has no account and queue name as its path",
		"https://sqs.eu-west-1.amazonaws.com/123456789012/jobs?Action=SendMessage":    "is no URL of a queue",
		"arn:aws:sqs:eu-west-1:123456789012:jobs":                                     "is no URL of a queue",
		"jobs": "is no URL of a queue",
		"":     "is no URL of a queue",
	} {
		checkValue(t, in(`"sqs" "s"`, `queue_url = "`+url+`"`), url, want, queueURL)
	}
}
