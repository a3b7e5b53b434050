package config

import (
	"github.com/standpipe/standpipe/agent/config/internal/rule"
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
		marked("queue_url", queueURL, func(d *Destination) *string { return &d.SQS.QueueURL }, rule.QueueURL).Needed().
			Means("The URL of the queue. The name of a FIFO queue ends with .fifo. ${stream} in the name is replaced by the name of the event's stream."),
	},
	price: func(p Prices, u Usage) (float64, bool) {
		return p.SQSMillionRequests * u.sqsRequests() / 1e6, p.SQSMillionRequests > 0
	},
}
