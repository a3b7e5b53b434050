// Package awsclient is the part that the sinks for AWS services share: the configuration of an SDK client, its HTTP
// transport, its credentials, and the classification of errors and results.
//
// # Contract
//
//   - Config opens no connection. It reads the environment and the shared files.
//   - The SDK's retries are off: the shipper retries.
//   - A Direct sends small requests with less than half of the memory: without the SDK's middleware. The SDK still sends one request a
//     minute and the one after a failure, and evaluates every failure. So the properties below hold for both.
//   - Clients with equal settings share one configuration: its HTTP client, CA certificates and cache of credentials. The
//     number of connections has no limit, and HTTP/1.1 has one request a connection, so one lane's slow request stops no
//     other lane's.
//   - Classify and ResponseOf use the same table of codes (classes). HTTP 200 alone is no success. The outcome
//     is unknown if a response has another number of results than records, a result with neither an ID nor an error
//     code, or a count of failures that the results don't show.
//   - Retry-After is passed on, at most an hour.
//   - Credentials that can't be fetched, or that the service rejects as expired or unknown, are loaded again by the next
//     request, from the environment and the shared files as they are then. Rotated keys need no restart.
//   - A wrong clock of this host costs one request: the SDK corrects the time by the Date of a response.
//   - The proxy of the environment is used for services, never for the sources of credentials.
//
// # Assumptions
//
// The table of codes was read in November 2026 from the API references of PutRecords, PutRecord and PutRecordBatch and
// from AWS's page "Common Errors". A test holds that every error type of the SDK's two packages has a class.
package awsclient
