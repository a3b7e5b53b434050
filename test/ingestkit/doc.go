// Package ingestkit holds the kit of the listeners' tests: a log in memory with faults on request, streams, an
// observer, and a client of each protocol. The tests of a protocol stand beside its code and reach it through
// agent/ingest, as producers do. Only tests import it.
package ingestkit
