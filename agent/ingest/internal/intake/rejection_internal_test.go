package intake

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/wal"
)

func TestRefusal_OfANewNameTellsItAndTheBound(t *testing.T) {
	err := fmt.Errorf("append: %w", &wal.StateError{Stream: "clicks", Producer: "meter-7", Used: 1000, Max: 1024})
	got := RejectionOf(err)
	want := Rejection{Code: codes.ResourceExhausted, Reason: ReasonStateFull, Event: NoEvent, Retry: retryOperator, Text: err.Error()}
	if *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
}
