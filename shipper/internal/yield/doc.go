// Package yield limits how fast a shipper reads a backlog while producers append, so that the producers keep most of the
// processors and of the disk.
package yield
