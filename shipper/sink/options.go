package sink

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Order is how much of a key's order a destination keeps.
type Order string

// The orders. With OrderKey a key's next record is sent after the previous one was acknowledged. With OrderStrict each
// record also names the sequence number of the key's previous record, for Kinesis's guarantee of strictly increasing
// sequence numbers, at the price of one request a record. OrderNone keeps no order.
const (
	OrderKey    Order = "key"
	OrderStrict Order = "strict"
	OrderNone   Order = "none"
)

// AWS is the part of the configuration that all destinations at AWS have in common.
type AWS struct {
	Region   string // "": the SDK's default chain; with an Endpoint and no region anywhere, us-east-1
	Endpoint string // "": the service's own; it is not used for the credentials
	Profile  string // of the shared configuration files; "": the default chain's
	RoleARN  string // a role to assume with the credentials found; "": none

	ExternalID  string // in the trust policy of the role; "": none
	SessionName string // of the role's session; "": chosen by the SDK

	// Timeout bounds one request, fetching credentials included. 0: only Send's context does.
	Timeout time.Duration

	// Credentials replaces the SDK's default chain when it is not nil.
	Credentials aws.CredentialsProvider
}
