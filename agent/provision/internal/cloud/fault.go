package cloud

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Error is a failed request.
type Error struct {
	Kind, Name string // of the resource
	Action     string // the operation as a right of IAM, like kinesis:CreateStream
	Code, Text string // of AWS
	Remedy     string // empty: none is known
	err        error
}

func (e *Error) Error() string {
	text := e.Kind
	if e.Name != "" {
		text += fmt.Sprintf(" %q", e.Name)
	}
	text += ": " + e.Action + ": "
	if e.Code != "" {
		text += e.Code + ": "
	}
	text += e.Text
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	return text
}

// Unwrap returns the SDK's error.
func (e *Error) Unwrap() error { return e.err }

// rights are those operations whose right has another name: Service Authorization Reference, Amazon S3, November 2026.
var rights = map[string]string{
	"HeadBucket":                      "s3:ListBucket",
	"GetPublicAccessBlock":            "s3:GetBucketPublicAccessBlock",
	"PutPublicAccessBlock":            "s3:PutBucketPublicAccessBlock",
	"GetBucketEncryption":             "s3:GetEncryptionConfiguration",
	"PutBucketEncryption":             "s3:PutEncryptionConfiguration",
	"GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
	"PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
}

// services are the prefixes of rights.
var services = map[string]string{
	"Kinesis": "kinesis", "Firehose": "firehose", "S3": "s3", "IAM": "iam", "CloudWatch": "cloudwatch", "Service Quotas": "servicequotas", "STS": "sts",
}

// Fault returns the error of a request for a resource.
func Fault(r Resource, err error) error { return faultOf(r.Kind(), r.Name(), err) }

// faultOf returns the error of a request for a resource. Other errors get the resource's name.
func faultOf(kind, name string, err error) error {
	if err == nil {
		return nil
	}
	var operation *smithy.OperationError
	if !errors.As(err, &operation) {
		if name != "" {
			kind += fmt.Sprintf(" %q", name)
		}
		return fmt.Errorf("%s: %w", kind, err)
	}
	e := &Error{Kind: kind, Name: name, Action: rights[operation.OperationName], Text: operation.Err.Error(), err: err}
	if e.Action == "" {
		e.Action = services[operation.ServiceID] + ":" + operation.OperationName
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		e.Code, e.Text = api.ErrorCode(), api.ErrorMessage()
	}
	e.Remedy = remedy(e, status(err))
	return e
}

func remedy(e *Error, status int) string {
	switch {
	case e.Code == "AccessDenied" || e.Code == "AccessDeniedException" || e.Code == "UnauthorizedOperation" || status == http.StatusForbidden && e.Action == "s3:ListBucket":
		if e.Action == "s3:ListBucket" {
			return "the bucket belongs to another account, or the right s3:ListBucket is missing: choose another name, or see standpipe iam --provision"
		}
		return "allow " + e.Action + ": standpipe iam --provision prints all rights"
	case unknownRole(e.err):
		return fmt.Sprintf("Firehose could not use the role for %v: compare the role with the plan, then run the command again", knownWithin)
	case throttled(e.err):
		return "AWS limits the rate of requests: run the command again later"
	case e.Code == "BucketAlreadyExists":
		return "the bucket belongs to another account: choose another name"
	case is(e.err, "BucketAlreadyOwnedByYou", "EntityAlreadyExists", "ResourceInUseException") && strings.Contains(e.Action, ":Create"):
		return "it was created after the command had looked: run the command again"
	case is(e.err, "LimitExceededException", "LimitExceeded", "TooManyBuckets"):
		return "request a higher quota in the console of Service Quotas, then run the command again"
	case e.Code == "ExpiredToken" || e.Code == "ExpiredTokenException" || e.Code == "UnrecognizedClientException" || e.Code == "InvalidClientTokenId":
		return "renew the credentials"
	case strings.Contains(e.Text, "get credentials") || strings.Contains(e.Text, "get identity"):
		return "set credentials: AWS_PROFILE, or the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	}
	return ""
}

// status returns the HTTP status of a response, or 0.
func status(err error) int {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// throttled reports whether AWS has rejected a request because of the rate of requests. Kinesis and Firehose have one code for rates
// and quotas, and only the creation of something exceeds a quota.
func throttled(err error) bool {
	var (
		api       smithy.APIError
		operation *smithy.OperationError
	)
	if !errors.As(err, &api) || !errors.As(err, &operation) {
		return false
	}
	if api.ErrorCode() == "LimitExceededException" {
		return !strings.HasPrefix(operation.OperationName, "Create")
	}
	_, known := retry.DefaultThrottleErrorCodes[api.ErrorCode()]
	return known
}

// is reports whether AWS has answered with one of the codes.
func is(err error, codes ...string) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, code := range codes {
		if api.ErrorCode() == code {
			return true
		}
	}
	return false
}
