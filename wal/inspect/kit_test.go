package inspect_test

import (
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/test/walkit"
)

// The helpers that the tests of wal use too.
var (
	open      = testkit.OpenLog
	appendOne = testkit.AppendOne
	readAll   = testkit.ReadAll

	place        = walkit.Place
	settleAll    = walkit.SettleAll
	settleLanes  = walkit.SettleLanes
	advance      = walkit.Advance
	sync         = walkit.Sync
	verify       = walkit.Verify
	wantSound    = walkit.WantSound
	segmentFiles = walkit.SegmentFiles
	edit         = walkit.Edit
)

const boltPage = walkit.BoltPage
