package sinktest

import (
	"fmt"

	"github.com/standpipe/standpipe/shipper"
)

// Records returns n records of one line each, under n keys, with offsets from 1.
func Records(n int) []shipper.Record { return RecordsFrom(1, n) }

// RecordsFrom returns n records as Records does, with offsets from first.
func RecordsFrom(first uint64, n int) []shipper.Record {
	batch := make([]shipper.Record, n)
	for i := range batch {
		offset := first + uint64(i)
		batch[i] = shipper.Record{
			Key:    fmt.Sprintf("key-%d", offset),
			First:  offset,
			Last:   offset,
			Events: 1,
			Data:   fmt.Appendf(nil, "{\"n\":%d}\n", offset),
		}
	}
	return batch
}

func payloads(batch []shipper.Record) [][]byte {
	all := make([][]byte, len(batch))
	for i, r := range batch {
		all[i] = r.Data
	}
	return all
}
