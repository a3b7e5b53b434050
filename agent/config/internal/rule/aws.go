package rule

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/standpipe/standpipe/agent/config/internal/pattern"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// AWSName applies the rule of both services for the names of streams, except for the text behind ${stream}.
func AWSName(s string) string {
	rest := strings.ReplaceAll(s, pattern.StreamMark, "")
	switch {
	case s == "":
		return "is empty"
	case strings.ContainsFunc(rest, func(c rune) bool { return !schema.NameChar(c) }):
		return "has a character that is not of A-Z a-z 0-9 . _ -"
	case len(rest) > pattern.MaxName:
		return fmt.Sprintf("has more than %d characters", pattern.MaxName)
	}
	return ""
}

// kinesisARN is the service's own pattern, arn:aws.*:kinesis:.*:\d{12}:stream/\S+, with a stricter region: Kinesis Data
// Streams API Reference, StreamARN of UpdateMaxRecordSize, November 2026. The group is the stream's name.
var kinesisARN = regexp.MustCompile(`^arn:aws[a-z-]*:kinesis:[a-z0-9-]+:[0-9]{12}:stream/(.*)$`)

// KinesisStream accepts a name or an ARN. In an ARN, ${stream} may only be part of the stream's name.
func KinesisStream(s string) string {
	if !strings.HasPrefix(s, "arn:") {
		return AWSName(s)
	}
	parts := kinesisARN.FindStringSubmatch(s)
	if parts == nil {
		return "is no ARN of a Kinesis stream"
	}
	if wrong := AWSName(parts[1]); wrong != "" {
		return "has a name that " + wrong
	}
	return ""
}

// Endpoint accepts the URL of a server, or nothing.
func Endpoint(s string) string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "is no URL of a server"
	}
	return ""
}

// AWS Security Token Service API Reference, AssumeRole, November 2026.
var (
	externalID  = regexp.MustCompile(`^[\w+=,.@:/-]+$`)
	sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
)

// ExternalID is the rule of AWS STS for external IDs, or nothing.
func ExternalID(s string) string {
	if s == "" || len(s) >= 2 && len(s) <= 1224 && externalID.MatchString(s) {
		return ""
	}
	return "is no external ID: it has 2 to 1224 characters of A-Z a-z 0-9 _ + = , . @ : / -"
}

// SessionName is the rule of AWS STS for names of sessions, or nothing.
func SessionName(s string) string {
	if s == "" || sessionName.MatchString(s) {
		return ""
	}
	return "is no session name: it has 2 to 64 characters of A-Z a-z 0-9 _ + = , . @ -"
}

// Role accepts the ARN of a role, or nothing.
func Role(s string) string {
	if s == "" || strings.HasPrefix(s, "arn:") && strings.Contains(s, ":role/") {
		return ""
	}
	return "is no role"
}

// alarmTopic matches the ARN of an SNS topic.
var alarmTopic = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$`)

// AlarmTopic accepts the ARN of an SNS topic, or nothing.
func AlarmTopic(s string) string {
	if s == "" || alarmTopic.MatchString(s) {
		return ""
	}
	return "is no ARN of an SNS topic"
}

// queue is the rule for names of queues, account and all: Amazon SQS Developer Guide, November 2026. A stand-in may have a word
// in the place of the account.
var queue = regexp.MustCompile(`^/([A-Za-z0-9_-]+)/([A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo)$`)

// account matches the number of an account of AWS.
var account = regexp.MustCompile(`^[0-9]{12}$`)

// QueueURL accepts ${stream} only in the queue's name.
func QueueURL(s string) string {
	u, err := url.Parse(strings.ReplaceAll(s, pattern.StreamMark, "x"))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "is no URL of a queue"
	}
	base, _, _ := cutLast(s, "/")
	parts := queue.FindStringSubmatch(u.Path)
	if parts == nil || strings.Contains(base, pattern.StreamMark) {
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
