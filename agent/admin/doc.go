// Package admin serves the admin listener over HTTP: health, metrics, the status, and dead letters.
//
//	GET /          the status page: problems, traffic, backlogs, dead letters; ?stream= a name or a pattern, ?all
//	GET /livez     200 while the process makes progress, else 503 and the reason
//	GET /readyz    200 while events are accepted, else 503 and the reason
//	GET /metrics   Prometheus text
//	GET /v1/status the Status as JSON
//
//	GET  /v1/dead         dead letters; ?stream=, ?destination=, ?after= an ID, ?limit= up to MaxDeadList
//	GET  /v1/dead/ID      one of them with its data
//	POST /v1/dead/requeue appends the events of letters again, and removes the letters
//	POST /v1/dead/drop    removes letters
//
//	GET /v1/streams/STREAM/tail   the events of a stream as they are appended: see package livetail
//
//	POST, GET, DELETE /v1/streams/STREAM/destinations/NAME/replay   starts, shows, ends a replay: see package replay
//
// # Contract
//
// Only the two POST endpoints change anything. The counts of events in the status, the page and the metrics come from one
// snapshot of the Source for each response, so that appended = delivered + dead + dropped + pending holds in every response.
// Metrics adds the figures that no ledger stores: durations, response codes, rejections and retries. They count from the
// start of the process. The section access of the status comes from the Source too: see package access.
//
// # Assumptions
//
// Without a Guard, only operators reach the listener: the page names streams, destinations and their errors, and dead
// letters and live views contain the data of producers. With a Guard, unknown callers only get the state of health from /livez and
// /readyz, and a live view needs an identity that may read the stream.
//
// A browser on the operator's host may send requests on behalf of any page. Requests of pages other than the status page get
// no dead letters and no live view and change nothing, and a POST must have the type application/json. See ownHost for DNS rebinding. Foreign texts, such as the names
// of streams and the errors of services, are escaped.
//
// # Limits
//
// One POST takes up to MaxDeadIDs IDs and ends after a few seconds; if letters are left, its response contains the After of
// the next request. Rejections are counted by name for the first MaxRefusedStreams streams, and for all other streams
// together under the empty name, since a producer may send any number of names.
package admin
