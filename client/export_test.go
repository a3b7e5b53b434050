package client

import standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"

// New returns a client of any Ingest.
func New(ingest standpipev1.IngestClient) *Client { return newClient(ingest) }
