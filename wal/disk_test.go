//go:build linux

package wal_test

import "github.com/standpipe/standpipe/test/testkit"

type disk = testkit.Disk

var (
	newDisk   = testkit.NewDisk
	newMemory = testkit.NewMemory
	run       = testkit.Run
)
