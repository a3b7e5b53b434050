// Package admin is what an operator sees of a running agent: health, metrics, the status as JSON
// and as a page.
//
//	GET /          the status page: what waits, why, and since when
//	GET /livez     200 while the process makes progress, else 503 and why
//	GET /readyz    200 while events are accepted, else 503 and why
//	GET /metrics   Prometheus text
//	GET /v1/status the Status as JSON
//
//	GET  /v1/dead         dead letters; ?stream=, ?destination=, ?after= an id, ?limit= up to MaxDeadList
//	GET  /v1/dead/ID      one of them with its data
//	POST /v1/dead/requeue appends the events of letters again, and removes the letters
//	POST /v1/dead/drop    removes letters
//
// The promise: nothing but the two POSTs changes anything, and there is one truth. Whatever the log's ledger
// counts comes from one snapshot of the Source, in the status, the page and the metrics alike, so
// that appended = delivered + dead + dropped + pending holds in each answer. Only what exists in
// motion (durations, answers' codes, refusals, retries) is counted in Metrics, from the start of
// the process.
//
// What is assumed: without a Guard, that nobody but operators reaches the listener, for the page names streams,
// destinations and their errors, and dead letters hold what producers sent. With one, who is not known to it is
// told by /livez and /readyz whether all is well, and nothing else. Texts from
// elsewhere (stream names, services' errors) are escaped, never trusted. A browser on the operator's
// host reaches the listener on behalf of any page it shows: the dead letters are kept from what says
// that a page asks for it, and a POST must be application/json.
//
// The section access of the status tells who sends: see package access. It comes from the Source like the ledger.
//
// Limits: one POST takes up to MaxDeadIDs ids and works for some seconds at most; when it did not come
// to the end of what was chosen it says where to go on. Refusals are counted by name for the first MaxRefusedStreams streams,
// then together under the empty name, since a producer may invent as many names as it likes.
package admin
