package destination

import (
	"strings"

	"github.com/standpipe/standpipe/agent/config"
)

// readInstead is the way to the events of a range for types that take no replay.
const readInstead = "read the events with standpipe tap STREAM --from … --follow=false"

// NoReplay returns the reason that rules out a second sink beside that of d, with the alternative; "": there is none.
func NoReplay(d config.Destination) string {
	switch {
	case d.Type == "file":
		return "its files are in the order of the offsets, and a second writer would break their places; " + readInstead
	case d.Type == "s3":
		return "an object is named by its first offset and never replaced, so events again would be dropped or be in two objects; " + readInstead
	case d.Type == "statsd":
		return "it counts events without an ID, so they would count twice; " + readInstead
	case d.Type == stdoutType:
		return "it writes no offset a second time; " + readInstead
	case d.Type == "relay":
		return "the agent behind it recognizes events that it has, and would drop them; run standpipe replay on that agent"
	case d.Type == "kafka" && kafkaDestination.ranges(d):
		return `with delivery = "exactly_once" a second producer fences off the first one, and the checkpoint would move back; ` + readInstead
	case d.Type == "sqs" && strings.HasSuffix(d.SQS.QueueURL, ".fifo"):
		return "a FIFO queue drops messages that it got in the last five minutes without an error; " + readInstead
	}
	return ""
}
