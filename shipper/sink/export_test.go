package sink

import (
	"net/http"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// WholeReply is the HTTP client that goes under the SDK, over any transport.
func WholeReply(t http.RoundTripper) aws.HTTPClient {
	return wholeReply{&http.Client{Transport: t}}
}

// SetSync replaces how f syncs a file.
func (f *File) SetSync(sync func(*os.File) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sync = sync
}

// Crash ends f as a kill would: nothing is finished or renamed.
func (f *File) Crash() {
	f.closing.Do(func() {
		close(f.stop)
		<-f.done
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.current != nil {
			f.current.file.Close()
		}
	})
}

// Fdatasync is how files are synced.
var Fdatasync = fdatasync
