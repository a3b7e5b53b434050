package config

import (
	"time"

	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// state collects facts about blocks for the checks of later blocks.
type state struct {
	aws    AWS           // the file's defaults, read before any destination
	maxAge time.Duration // of the wal block, read before any stream
	wal    WAL           // read before any stream
	walPos Pos           // of min_free
	shared []sharedDestination
	uses   []use // of the stream block that is being read
	taken  []taken
	relays []taken // the addresses of relay destinations
	s3     []s3Target
	refers []reference
	auths  []authBlock

	folders []ownFolder
}

// stateOf returns the state of the configuration that b belongs to.
func stateOf(b *schema.Block) *state { return b.State().(*state) }
