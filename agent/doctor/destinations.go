package doctor

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/internal/destination"
	"github.com/standpipe/standpipe/shipper"
)

// destinations returns a check for each destination of each stream block.
func (p *patient) destinations() (list []check) {
	for _, s := range p.conf.Streams {
		for _, d := range s.Destinations {
			name := fmt.Sprintf("%s/%s %s", s.Name, d.Name, d.Type)
			list = append(list, check{name, func(ctx context.Context) Check { return tryDestination(ctx, s.Name, d) }})
		}
	}
	return list
}

func tryDestination(ctx context.Context, stream string, d config.Destination) Check {
	if strings.Contains(stream, "*") {
		if named := d.For("x"); !reflect.DeepEqual(named, d) && d.Type != "file" {
			return skip("send an event to a stream of the pattern", "the target has ${stream}, and %q stands for several streams", stream)
		}
	}
	switch d.Type {
	case "file":
		return tryFolder(d)
	case "stdout":
		return ok("standard output")
	}
	failure, checked, err := destination.Check(ctx, d, stream)
	switch {
	case err != nil:
		return fail("correct the settings of the destination, or the file that they name", "%v", err)
	case failure != nil:
		return judge(d, failure)
	case !checked:
		return skip("send an event", "there is no request that stores nothing")
	case d.Type == "statsd" && d.Statsd.Network == "udp":
		return ok("%s is an address; whether a server is there cannot be known", d.Statsd.Address)
	}
	return ok("%s", done[d.Type])
}

// done describes the successful check of a type.
var done = map[string]string{
	"kinesis":  "the stream is there",
	"firehose": "the stream is active",
	"s3":       "an upload could begin, and was aborted",
	"sqs":      "the queue is there",
	"kafka":    "the topic is there",
	"relay":    "the other agent accepts events",
	"statsd":   "the socket is there",
}

// tryFolder writes into the folder above the first ${stream}, or the nearest one that exists.
func tryFolder(d config.Destination) Check {
	dir, _, _ := strings.Cut(d.Path, "${stream}")
	there, err := writable(dir)
	if err != nil {
		return fail(ownFolder, "%s: %v", d.Path, err)
	}
	return ok("%s is writable", there)
}

// optional are the types whose check needs a right that delivery does not need.
var optional = map[string]string{"firehose": "firehose:DescribeDeliveryStream", "sqs": "sqs:GetQueueAttributes"}

// judge returns the result of a failed check.
func judge(d config.Destination, e *shipper.Error) Check {
	text := e.Code
	if e.Text != "" {
		text += ": " + e.Text
	}
	denied := strings.Contains(e.Code, "AccessDenied") || e.Code == "AccessDeniedException"
	if right := optional[d.Type]; right != "" && denied {
		return skip("allow "+right+" for the check alone; delivery does not need it", "%s", text)
	}
	return fail(remedy(d, e, denied), "%s", text)
}

// remedies are the changes for the codes that need one.
var remedies = []struct{ part, remedy string }{
	{"credentials", "give the agent credentials: a role of the host, environment variables or a profile; aws sts get-caller-identity tries them"},
	{"Expired", "renew the credentials: they have expired"},
	{"SignatureDoesNotMatch", "check the secret key, and the clock of the host"},
	{"RequestTimeTooSkewed", "set the clock of the host"},
	{"InvalidSignature", "check the secret key, and the clock of the host"},
	{"UnrecognizedClient", "check the access key: the service does not have it"},
	{"InvalidClientTokenId", "check the access key: the service does not have it"},
	{"InvalidAccessKeyId", "check the access key: the service does not have it"},
	{"ResourceNotFound", "create the stream, or correct its name or region"},
	{"NoSuchBucket", "create the bucket, or correct its name"},
	{"PermanentRedirect", "set the region of the bucket"},
	{"AuthorizationHeaderMalformed", "set the region of the bucket"},
	{"NonExistentQueue", "create the queue, or correct queue_url"},
	{"QueueDoesNotExist", "create the queue, or correct queue_url"},
	{"UNKNOWN_TOPIC", "create the topic, or correct its name"},
	{"endpoint", "set region in the aws block"},
	{"tls", "set ca_file to the CA of the server's certificate, and server_name to its name"},
	{"UNAUTHENTICATED", "set a token_file or a certificate that the other agent knows"},
	{"UNIMPLEMENTED", "set the address of a grpc listener of standpipe"},
	{"NOT_FOUND", "add a stream block that matches to the other agent, or correct stream"},
	{"PERMISSION_DENIED", "allow the stream in the identity block of the other agent"},
}

// hints are the changes for failures of a connection, by a part of their texts.
var hints = []struct{ part, remedy string }{
	{"HTTP/1.1 header", "set the address of a grpc listener of standpipe"},
	{"server preface: EOF", "add a tls block: the server expects TLS"},
	{"is TLS missing", "add a tls block: the server expects TLS"},
	{"is SASL missing", "add a sasl block: the brokers expect a login"},
}

func remedy(d config.Destination, e *shipper.Error, denied bool) string {
	if denied {
		return "allow the request; standpipe iam prints the policy"
	}
	for _, r := range remedies {
		if strings.Contains(e.Code, r.part) {
			return r.remedy
		}
	}
	for _, h := range hints {
		if strings.Contains(e.Text, h.part) {
			return h.remedy
		}
	}
	switch {
	case e.Class == shipper.Throttled:
		return "try again later: the service limits the rate of requests, or is overloaded"
	case e.Class == shipper.Transient:
		return "check the address, DNS, and the firewall between this host and " + target(d)
	}
	return "correct the settings of the destination"
}

// target names the server of a destination.
func target(d config.Destination) string {
	t, err := destination.Of(d)
	if err != nil {
		return d.Type
	}
	return t.Endpoint(d)
}
