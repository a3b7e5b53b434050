// Package admin is what an operator sees of a running agent: health, metrics, the status as JSON
// and as a page.
//
//	GET /          the status page: what waits, why, and since when
//	GET /livez     200 while the process makes progress, else 503 and why
//	GET /readyz    200 while events are accepted, else 503 and why
//	GET /metrics   Prometheus text
//	GET /v1/status the Status as JSON
//
// The promise: nothing here changes anything, and there is one truth. Whatever the log's ledger
// counts comes from one snapshot of the Source, in the status, the page and the metrics alike, so
// that appended = delivered + dead + dropped + pending holds in each answer. Only what exists in
// motion (durations, answers' codes, refusals, retries) is counted in Metrics, from the start of
// the process.
//
// What is assumed: the listener is loopback or a socket that only operators reach. There is no
// authentication here, and the page names streams, destinations and their errors. Texts from
// elsewhere (stream names, services' errors) are escaped, never trusted.
//
// Limits: GET and HEAD only. Refusals are counted by name for the first MaxRefusedStreams streams,
// then together under the empty name, since a producer may invent as many names as it likes.
package admin
