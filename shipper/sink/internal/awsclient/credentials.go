package awsclient

import (
	"context"
	"errors"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// credentialsSource is where a destination's credentials come from. The SDK's chain is chosen and the shared
// files are read once, and what was fetched is kept until the hour at which it was said to end, whatever the
// service says of it. Credentials that can't be had, or that the service has refused, make the source
// begin anew, with the files as they are then: nobody must restart an agent for them.
//
// It marks the errors of fetching credentials, so that they are not taken for the destination's: "access
// denied" to a role says nothing about a record.
type credentialsSource struct {
	load func(context.Context) (aws.CredentialsProvider, error)

	mu       sync.Mutex
	provider aws.CredentialsProvider // nil: to be loaded; guarded by mu
	age      int                     // how many were dropped; guarded by mu
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
	if ctx.Err() == nil { // otherwise the provider goes on fetching for the next request
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

// watch makes a client tell the source when the service refuses its credentials.
func (s *credentialsSource) watch(stack *middleware.Stack) error {
	return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("CredentialsRefused", s.look), middleware.Before)
}

func (s *credentialsSource) look(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	age := s.dropped()
	out, metadata, err := next.HandleFinalize(ctx, in)
	if aboutCredentials(err) {
		s.forget(age)
	}
	return out, metadata, err
}

func (s *credentialsSource) dropped() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.age
}

// forget drops the provider of that age: requests that were under way together are refused together, and
// the later refusals say nothing of the next provider.
func (s *credentialsSource) forget(age int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.age == age {
		s.provider, s.age = nil, age+1
	}
}

// aboutCredentials tells whether the service, or that which hands out a role's credentials, knows the
// credentials no more.
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
