package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const (
	maxFaultText = 4 << 10
	// maxResponse is enough for an event of 64 MiB, more than the WAL accepts, of bytes that JSON escapes.
	maxResponse = 6 * 64 << 20
)

// AdminClient sends requests to an agent's admin listener.
type AdminClient struct {
	Address   string
	base      string // of URLs
	token     string // "": none
	transport *http.Transport
}

// Close closes the idle connections.
func (a *AdminClient) Close() { a.transport.CloseIdleConnections() }

// Call sends a request with arg as JSON, if it is not nil, and returns the body of a 200 response, which the caller closes.
func (a *AdminClient) Call(ctx context.Context, method, path string, arg any) (io.ReadCloser, error) {
	request, err := a.request(ctx, method, path, arg)
	if err != nil {
		return nil, err
	}
	response, err := a.transport.RoundTrip(request)
	if err != nil {
		return nil, Hint(fmt.Errorf("no response from the agent at %s: %w", a.Address, err))
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxFaultText)) // the status is enough without it
	err = &ResponseError{Address: a.Address, Code: response.StatusCode, Text: printableLines(strings.TrimSpace(string(text)))}
	if isIngest(response, text) {
		return nil, &hinted{err, "producers send to this address; this command needs the admin listener, by default " + DefaultAdminAddress}
	}
	if response.Header.Get("Content-Type") == "application/json" || response.StatusCode >= http.StatusInternalServerError {
		return nil, err
	}
	return nil, Hint(err)
}

// ResponseError is a response of the agent that is not 200.
type ResponseError struct {
	Address string
	Code    int
	Text    string // printable
}

func (e *ResponseError) Error() string {
	return fmt.Sprintf("the agent at %s answers %d %s: %s", e.Address, e.Code, http.StatusText(e.Code), e.Text)
}

// isIngest reports whether an HTTP listener for producers has sent the response.
func isIngest(response *http.Response, text []byte) bool {
	return response.StatusCode == http.StatusNotFound && bytes.Contains(text, []byte("POST /v1/streams/STREAM stores events"))
}

// CallJSON is Call for a response in JSON, which it decodes into result.
func (a *AdminClient) CallJSON(ctx context.Context, method, path string, arg, result any) error {
	body, err := a.Call(ctx, method, path, arg)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxResponse)).Decode(result); err != nil {
		return fmt.Errorf("read the response of the agent at %s: %w", a.Address, err)
	}
	return nil
}

// printableLines is Printable for a text of several lines.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = Printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

func (a *AdminClient) request(ctx context.Context, method, path string, arg any) (*http.Request, error) {
	var body io.Reader
	if arg != nil {
		text, err := json.Marshal(arg)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, body)
	if err != nil {
		return nil, err
	}
	if arg != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		request.Header.Set("Authorization", "Bearer "+a.token)
	}
	return request, nil
}
