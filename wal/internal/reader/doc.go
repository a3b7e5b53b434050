// Package reader copies the events of a stream out of the segments of an open log.
//
// # Contract
//
// Read returns synced events only, byte for byte, in the order of their offsets, each of the wanted lanes once. It holds
// no transaction when it returns. A segment that is unlinked or replaced during a read held no needed event there, so the
// read continues with another one.
//
// Damage is a *segment.CorruptError. An I/O error is returned as it is until it has lasted for Reader.Patience: then it
// counts as damage.
//
// # Assumptions
//
// The spans of liveset.Set end where the last sync ended: bbolt shows a transaction to readers before that sync.
package reader
