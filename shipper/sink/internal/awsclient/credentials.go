package awsclient

import (
	"context"
	"errors"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// credentialsSource provides a destination's credentials. The SDK chooses its chain and reads the shared files once,
// and caches fetched credentials until their stated expiration, even if the service rejects them earlier. Therefore,
// when credentials can't be fetched or the service rejects them, the source loads the chain again, with the files as
// they are then. No restart is needed.
//
// It marks the errors of fetching credentials, so that they are not taken for errors of the destination: "access
// denied" to a role is no evidence about a record.
type credentialsSource struct {
	load func(context.Context) (aws.CredentialsProvider, error)

	mu       sync.Mutex
	provider aws.CredentialsProvider // nil: to be loaded; guarded by mu
	age      int                     // number of providers dropped so far; guarded by mu
}

// Retrieve returns the credentials that the provider has cached, or fetches them.
func (s *credentialsSource) Retrieve(ctx context.Context) (aws.Credentials, error) {
	provider, age, err := s.current(ctx)
	if err != nil {
		return aws.Credentials{}, &credentialsError{err}
	}
	c, err := provider.Retrieve(ctx)
	if err == nil {
		return c, nil
	}
	if ctx.Err() == nil { // otherwise the provider is still fetching, for the next request
		s.forget(age)
	}
	return c, &credentialsError{err}
}

func (s *credentialsSource) current(ctx context.Context) (aws.CredentialsProvider, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.provider != nil {
		return s.provider, s.age, nil
	}
	provider, err := s.load(ctx)
	if err != nil {
		return nil, s.age, err
	}
	s.provider = provider
	return provider, s.age, nil
}

// watch adds a middleware to a client that drops the provider when the service rejects its credentials.
func (s *credentialsSource) watch(stack *middleware.Stack) error {
	return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("CredentialsRefused", s.look), middleware.Before)
}

func (s *credentialsSource) look(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	age, sent := ctx.Value(droppedKey{}).(int)
	if !sent {
		age = s.dropped()
	}
	out, metadata, err := next.HandleFinalize(ctx, in)
	if aboutCredentials(err) {
		s.forget(age)
	}
	return out, metadata, err
}

// droppedKey is the key of the number of dropped providers when a request was sent that the SDK evaluates later.
type droppedKey struct{}

func (s *credentialsSource) dropped() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.age
}

// forget drops the provider of the given age. Requests that were in flight together are rejected together, and the
// later rejections are no evidence about the next provider.
func (s *credentialsSource) forget(age int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.age == age {
		s.provider, s.age = nil, age+1
	}
}

// aboutCredentials reports whether the service, or the issuer of a role's credentials, rejected the credentials as
// expired or unknown.
func aboutCredentials(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException":
		return true
	}
	return false
}

type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "get credentials: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }
