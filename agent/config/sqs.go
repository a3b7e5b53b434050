package config

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// SQS is the settings that only an sqs destination has.
type SQS struct {
	QueueURL string // may contain ${stream} in the queue's name
}

const queueURL = `the URL of a queue, like "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo"`

var sqsType = destinationType{
	name:    "sqs",
	meaning: "A queue of Amazon SQS, standard or FIFO. " + awsMeaning,
	shared:  shared{aws: true, pace: true, bandwidth: true, envelope: true, delay: true},
	own: []schema.Setting[Destination]{
		marked("queue_url", queueURL, func(d *Destination) *string { return &d.SQS.QueueURL }, wrongQueueURL).Needed().
			Means("The URL of the queue. The name of a FIFO queue ends with .fifo. ${stream} in the name is replaced by the name of the event's stream."),
	},
	price: func(p Prices, u Usage) (float64, bool) {
		return p.SQSMillionRequests * u.sqsRequests() / 1e6, p.SQSMillionRequests > 0
	},
}

// queue is the rule for names of queues, account and all: Amazon SQS Developer Guide, November 2026. A stand-in may have a word
// in the place of the account.
var queue = regexp.MustCompile(`^/([A-Za-z0-9_-]+)/([A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo)$`)

// account matches the number of an account of AWS.
var account = regexp.MustCompile(`^[0-9]{12}$`)

// wrongQueueURL accepts ${stream} only in the queue's name.
func wrongQueueURL(s string) string {
	u, err := url.Parse(strings.ReplaceAll(s, streamMark, "x"))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "is no URL of a queue"
	}
	base, _, _ := cutLast(s, "/")
	parts := queue.FindStringSubmatch(u.Path)
	if parts == nil || strings.Contains(base, streamMark) {
		return "has no account and queue name as its path"
	}
	host := u.Hostname()
	if (strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")) && !account.MatchString(parts[1]) {
		return "has no account of 12 digits before the queue's name"
	}
	return ""
}

// cutLast is strings.Cut around the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
