package awsclient

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
)

// Classify maps any error of a request for batch to a shipper.Error, whose class decides how the error is handled. It
// also returns the code for the request's metric: the HTTP status, or the reason why there is none.
func Classify(err error, batch []shipper.Record) (*shipper.Error, string) {
	e := &shipper.Error{Class: shipper.Transient, Record: -1}
	status := statusOf(err, e)
	var creds *credentialsError
	var api smithy.APIError
	switch {
	case errors.As(err, &creds):
		classifyCredentials(creds, e)
		return e, failure.CodeCredentials
	case errors.As(err, &api):
		e.Code, e.Text = api.ErrorCode(), failure.Shorten(mask(api.ErrorMessage(), batch))
		e.Class = classOf(e.Code, failure.Shorten(api.ErrorMessage()), status)
		if nameless(e.Code) {
			e.Code = httpCode(status)
			between(e, status)
		}
		e.Remedy = remedyOf(e.Code, api.ErrorMessage())
		if e.Class == shipper.Poison {
			e.Record = namedRecord(api.ErrorMessage(), batch)
		}
	case status >= 300:
		e.Code, e.Text, e.Class = httpCode(status), "the answer is no error of the service", classOfStatus(status)
		between(e, status)
	case status > 0:
		e.Code, e.Text = failure.CodeBadResponse, failure.Shorten(rootText(err))
	default:
		e = failure.Of(err)
		e.Text = failure.Shorten(rootText(err))
		var region *aws.MissingRegionError
		if errors.As(err, &region) || strings.Contains(err.Error(), "resolve service endpoint") || strings.Contains(err.Error(), "bind endpoint params") {
			e.Code, e.Class = failure.CodeEndpoint, shipper.Operator
		}
		return e, e.Code
	}
	return e, strconv.Itoa(status)
}

// between handles a status without an error of the service: it may be a proxy's, and a proxy's status is no reason to
// give up a record. A request too large for a proxy is retried as smaller ones.
func between(e *shipper.Error, status int) {
	if e.Class == shipper.Poison {
		e.Class = shipper.Operator
	}
	e.TooLarge = status == http.StatusRequestEntityTooLarge
	e.Between = status >= 500
}

// classifyRecord maps the code and text of one record's result to a shipper.Error. Only transient and throttling codes
// are documented there, so a record with an unknown code is retried.
func classifyRecord(code, text string) *shipper.Error {
	class, known := ClassOfCode(code)
	if known && class == shipper.Poison && aboutStream(text) {
		class = shipper.Operator
	}
	return &shipper.Error{Class: class, Code: code, Text: failure.Shorten(mask(text, nil)), Record: -1}
}

// classes holds the codes of Kinesis Data Streams (PutRecords), Amazon Data Firehose
// (PutRecordBatch) and Amazon SQS (SendMessageBatch) as their API references list them, and of AWS's "Common Errors" page, read in
// November 2026. The zero class is Transient.
var classes = map[string]shipper.Class{
	"ProvisionedThroughputExceededException": shipper.Throttled,
	"KMSThrottlingException":                 shipper.Throttled,
	"LimitExceededException":                 shipper.Throttled,
	"ServiceUnavailable":                     shipper.Throttled, // with the text "Slow down." from Firehose
	"ServiceUnavailableException":            shipper.Throttled,
	"Throttling":                             shipper.Throttled,
	"ThrottlingException":                    shipper.Throttled,
	"ThrottledException":                     shipper.Throttled,
	"RequestThrottled":                       shipper.Throttled,
	"RequestThrottledException":              shipper.Throttled,
	"RequestLimitExceeded":                   shipper.Throttled,
	"TooManyRequestsException":               shipper.Throttled,
	"BandwidthLimitExceeded":                 shipper.Throttled,
	"SlowDown":                               shipper.Throttled,

	"InternalFailure":                 shipper.Transient,
	"InternalFailureException":        shipper.Transient,
	"InternalError":                   shipper.Transient,
	"InternalServerError":             shipper.Transient,
	"InternalServerException":         shipper.Transient,
	"ConcurrentModificationException": shipper.Transient,
	"ResourceInUseException":          shipper.Transient, // being created or changed
	"RequestTimeout":                  shipper.Transient,
	"RequestTimeoutException":         shipper.Transient,
	"RequestExpired":                  shipper.Transient, // the SDK has corrected its clock by then
	"RequestInTheFuture":              shipper.Transient,
	"RequestTimeTooSkewed":            shipper.Transient,
	"ExpiredToken":                    shipper.Transient, // the next request fetches another (credentials.go)
	"ExpiredTokenException":           shipper.Transient,

	"ResourceNotFoundException":           shipper.Operator,
	"AccessDenied":                        shipper.Operator,
	"AccessDeniedException":               shipper.Operator,
	"NotAuthorized":                       shipper.Operator,
	"UnauthorizedOperation":               shipper.Operator,
	"KMSAccessDeniedException":            shipper.Operator,
	"KMSDisabledException":                shipper.Operator,
	"KMSInvalidStateException":            shipper.Operator,
	"KMSNotFoundException":                shipper.Operator,
	"KMSOptInRequired":                    shipper.Operator,
	"InvalidKMSResourceException":         shipper.Operator,
	"InvalidSourceException":              shipper.Operator,
	"OptInRequired":                       shipper.Operator,
	"SubscriptionRequiredException":       shipper.Operator,
	"UnrecognizedClientException":         shipper.Operator,
	"InvalidClientTokenId":                shipper.Operator,
	"MissingAuthenticationToken":          shipper.Operator,
	"IncompleteSignature":                 shipper.Operator,
	"IncompleteSignatureException":        shipper.Operator,
	"InvalidSignatureException":           shipper.Operator, // unless the text is about time (aboutTime)
	"SignatureDoesNotMatch":               shipper.Operator,
	"UnknownOperationException":           shipper.Operator,
	"MissingAuthenticationTokenException": shipper.Operator,

	"ValidationException":            shipper.Poison,
	"ValidationError":                shipper.Poison,
	"InvalidArgumentException":       shipper.Poison,
	"SerializationException":         shipper.Poison,
	"RequestEntityTooLarge":          shipper.Poison,
	"RequestEntityTooLargeException": shipper.Poison,

	// Amazon SQS: SendMessageBatch and the errors of the API, November 2026. Codes of the query protocol are longer.
	"KmsThrottled":                 shipper.Throttled,
	"KMS.ThrottlingException":      shipper.Throttled,
	"OverLimit":                    shipper.Throttled,
	"QueueDoesNotExist":            shipper.Operator,
	"NonExistentQueue":             shipper.Operator,
	"QueueDeletedRecently":         shipper.Operator,
	"InvalidAddress":               shipper.Operator,
	"InvalidSecurity":              shipper.Operator,
	"KmsAccessDenied":              shipper.Operator,
	"KMS.AccessDeniedException":    shipper.Operator,
	"KmsDisabled":                  shipper.Operator,
	"KMS.DisabledException":        shipper.Operator,
	"KmsInvalidKeyUsage":           shipper.Operator,
	"KMS.InvalidKeyUsageException": shipper.Operator,
	"KmsInvalidState":              shipper.Operator,
	"KMS.InvalidStateException":    shipper.Operator,
	"KmsNotFound":                  shipper.Operator,
	"KMS.NotFoundException":        shipper.Operator,
	"KmsOptInRequired":             shipper.Operator,
	"KMS.OptInRequired":            shipper.Operator,
	"UnsupportedOperation":         shipper.Operator,
	"MissingParameter":             shipper.Operator,
	"InvalidParameterValue":        shipper.Operator,
	"InvalidMessageContents":       shipper.Poison,
	"BatchRequestTooLong":          shipper.Poison,
}

// remedyOf returns what an operator does about an error that a request or two correct by themselves, and that lasts all
// the same. The SDK corrects its clock by the Date of a response, and a rejected token is fetched again.
func remedyOf(code, text string) string {
	switch code {
	case "RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed":
		return remedyClock
	case "ExpiredToken", "ExpiredTokenException":
		return remedyToken
	}
	if strings.Contains(code, "Signature") && aboutTime(text) {
		return remedyClock
	}
	return ""
}

const (
	remedyClock = "set the clock of this host, for example with NTP: requests are signed with its time"
	remedyToken = "renew the credentials where the agent gets them: the environment, the profile or the file has expired ones"
)

// ClassOfCode looks a code up, also in the form of SQS's query protocol.
func ClassOfCode(code string) (class shipper.Class, known bool) {
	class, known = classes[strings.TrimPrefix(code, "AWS.SimpleQueueService.")]
	return class, known
}

// Known reports whether the services document the code.
func Known(code string) bool {
	_, known := ClassOfCode(code)
	return known
}

// classOf returns the class of the service's code and text, or of the status if the code is unknown.
func classOf(code, text string, status int) shipper.Class {
	class, known := ClassOfCode(code)
	switch {
	case !known:
		return classOfStatus(status)
	case class == shipper.Poison && aboutStream(text):
		return shipper.Operator
	case strings.Contains(code, "Signature") && aboutTime(text):
		return shipper.Transient
	}
	return class
}

// classOfStatus returns the class of a status without a known code. An unknown 4xx needs an operator and makes no dead
// letters: nothing shows that the record is at fault, and all events are kept.
func classOfStatus(status int) shipper.Class {
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return shipper.Throttled
	case status == http.StatusRequestEntityTooLarge:
		return shipper.Poison
	case status == http.StatusRequestTimeout, status >= 500, status < 300:
		return shipper.Transient
	}
	return shipper.Operator
}

// aboutStream reports whether a rejection concerns the stream that the configuration names, rather than a record: the
// service uses the same codes for both.
func aboutStream(text string) bool {
	if recordName.MatchString(text) {
		return false
	}
	text = strings.ToLower(text)
	for _, of := range []string{"'streamname'", "'streamarn'", "'deliverystreamname'",
		"streamarn", "stream name", "delivery stream", "not permitted"} {
		if strings.Contains(text, of) {
			return true
		}
	}
	return false
}

// aboutTime reports whether a signature was rejected for its age.
func aboutTime(text string) bool {
	return strings.Contains(text, "expired") || strings.Contains(text, "not yet current")
}

// recordName matches the name of a record in a ValidationException of the services. lengthLimit matches the text that
// follows it when the record is too long.
var (
	recordName  = regexp.MustCompile(`[Rr]ecords\.(\d+)\.member`)
	lengthLimit = regexp.MustCompile(`^[^;]*?length less than or equal to (\d+)`)
)

// namedRecord returns the index, from 0, of the first record that text names, or -1. The services count from 1 (the
// first record's data is 'records.1.member.data'), but no reference documents that. So that no valid record becomes a
// dead letter, a name counts only if that record is longer than the limit in text.
func namedRecord(text string, batch []shipper.Record) int {
	name := recordName.FindStringSubmatchIndex(text)
	if name == nil {
		return -1
	}
	number, err := strconv.Atoi(text[name[2]:name[3]])
	if err != nil || number < 1 || number > len(batch) {
		return -1
	}
	limit := lengthLimit.FindStringSubmatch(text[name[1]:])
	if limit == nil {
		return -1
	}
	most, err := strconv.Atoi(limit[1])
	r := batch[number-1]
	if err != nil || len(r.Data)+len(r.Key) <= most {
		return -1
	}
	return number - 1
}

// classifyCredentials classifies an error of fetching credentials. If none are configured at all, the SDK's chain ends
// at the instance metadata, which is missing. Errors of the token service are classified by their code, but never as
// poison; network errors are transient; all others need an operator.
func classifyCredentials(err *credentialsError, e *shipper.Error) {
	e.Code, e.Text = failure.CodeCredentials, failure.Shorten(rootText(err))
	var api smithy.APIError
	switch {
	case strings.Contains(err.Error(), "no EC2 IMDS role found"):
		e.Class, e.Text = shipper.Operator, "none are configured, and no instance metadata answers"
	case errors.As(err, &api):
		e.Text = failure.Shorten(api.ErrorCode() + ": " + api.ErrorMessage())
		e.Class = classOf(api.ErrorCode(), api.ErrorMessage(), statusOf(err, e))
		e.Remedy = remedyOf(api.ErrorCode(), api.ErrorMessage())
		if e.Class == shipper.Poison {
			e.Class = shipper.Operator
		}
	case !isNetwork(err):
		e.Class = shipper.Operator
	}
}

func isNetwork(err error) bool {
	var n net.Error
	var sent *smithyhttp.RequestSendError
	return errors.As(err, &n) || errors.As(err, &sent) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// mostRetryAfter bounds the delay of a Retry-After header, which may come from a proxy. Without the bound, an agent
// that was sent a delay of a year would look as if it were waiting as usual.
const mostRetryAfter = time.Hour

// statusOf returns the HTTP status of the response in err, or 0 if there is none, and sets e.RetryAfter from its
// Retry-After header.
func statusOf(err error, e *shipper.Error) int {
	var r *smithyhttp.ResponseError
	if !errors.As(err, &r) || r.Response == nil || r.Response.Response == nil {
		return 0
	}
	if s, err := strconv.ParseInt(r.Response.Header.Get("Retry-After"), 10, 64); s > 0 && (err == nil || errors.Is(err, strconv.ErrRange)) {
		e.RetryAfter = min(time.Duration(s), mostRetryAfter/time.Second) * time.Second
	}
	return r.Response.StatusCode
}

// nameless reports whether a response has no code; the SDK substitutes UnknownError.
func nameless(code string) bool { return code == "" || code == "UnknownError" }

// quotedValue matches a rejected value that the services quote in error texts.
var quotedValue = regexp.MustCompile(`(?s)Value '.*?' at '`)

// mask removes the record contents that the services quote, above all keys, from a text that operators see.
func mask(text string, batch []shipper.Record) string {
	if !strings.Contains(text, "'") {
		return text
	}
	for i := range batch {
		if key := batch[i].Key; key != "" {
			text = strings.ReplaceAll(text, "Value '"+key+"' at", "Value '...' at")
		}
	}
	return quotedValue.ReplaceAllString(text, "Value '...' at '")
}

func httpCode(status int) string { return "HTTP " + strconv.Itoa(status) }

// rootText returns the text of err without the prefixes that the SDK nests around the cause.
func rootText(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	var d *smithy.DeserializationError
	if errors.As(err, &d) && d.Err != nil {
		return d.Err.Error()
	}
	return err.Error()
}
