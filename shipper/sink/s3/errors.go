package s3

import (
	"errors"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
)

// classes holds the codes of Amazon S3 whose class does not follow from their status, as the API reference lists them
// ("Error responses", read in November 2026). Other codes of 4xx need an operator: NoSuchBucket, AccessDenied,
// AllAccessDisabled, InvalidAccessKeyId, SignatureDoesNotMatch, PermanentRedirect, KMS.DisabledException and the like.
var classes = map[string]shipper.Class{
	"SlowDown":                shipper.Throttled,
	"ServiceUnavailable":      shipper.Throttled,
	"RequestLimitExceeded":    shipper.Throttled,
	"TooManyRequests":         shipper.Throttled,
	"KMS.ThrottlingException": shipper.Throttled,

	"ConditionalRequestConflict": shipper.Transient, // 409: upload again
	"OperationAborted":           shipper.Transient, // 409: another request for the same key
	"PreconditionFailed":         shipper.Transient, // 412, and no object: it was removed since
	"NoSuchUpload":               shipper.Transient, // 404: upload again
	"InvalidPart":                shipper.Transient, // 400: upload again
	"BadDigest":                  shipper.Transient, // 400: the body was changed on its way
	"InvalidDigest":              shipper.Transient,
	"XAmzContentSHA256Mismatch":  shipper.Transient,
	"IncompleteBody":             shipper.Transient,
	"RequestTimeout":             shipper.Transient, // 400: the body came too slowly
	"KMS.KMSInternalException":   shipper.Transient,

	"NotImplemented": shipper.Operator, // 501
	"EntityTooLarge": shipper.Operator, // no event is at fault: the service takes smaller objects or parts only
	"EntityTooSmall": shipper.Operator, // the service takes larger parts only
}

// classify maps an error of a request to the class that decides how it is handled. No error of S3 is an event's fault.
func classify(err error) *shipper.Error {
	e, _ := awsclient.Classify(err, nil)
	if class, known := classes[e.Code]; known {
		e.Class = class
	}
	if e.Class == shipper.Poison {
		e.Class = shipper.Operator
	}
	e.TooLarge = false
	return e
}

// codeOf returns the service's code in err, or "".
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// statusOf returns the HTTP status in err, or 0.
func statusOf(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) && r.Response != nil && r.Response.Response != nil {
		return r.HTTPStatusCode()
	}
	return 0
}
