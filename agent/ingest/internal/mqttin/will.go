package mqttin

import (
	"context"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

// will is the message that is stored when a client ends without DISCONNECT.
type will struct{ message }

// willOf returns the will in a CONNECT, or nil.
func willOf(p *packets.ConnectParams) *will {
	if !p.WillFlag {
		return nil
	}
	return &will{message{
		topic: p.WillTopic, payload: p.WillPayload, qos: p.WillQos, retain: p.WillRetain, will: true, properties: p.WillProperties,
	}}
}

// sendWill stores the will of a client that has ended, if there is one. A rejection is counted and logged.
func (c *client) sendWill() {
	if c.will == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.ctx)) // which ends with the connection
	defer cancel()
	defer context.AfterFunc(c.listener.ctx, cancel)()
	c.ctx = ctx
	u := &unacked{Submission: c.submit(&c.will.message)}
	refused, _ := c.conclude(u)
	if refused != nil && refused.Reason != "" {
		c.listener.in.Logger.Warn("will rejected", "client_id", intake.QuoteName(c.id), "reason", refused.Reason, "error", refused.Error())
	}
}
