// Package profile has the presets that a configuration can name as its profile. The values of a preset are those that nearly
// every user of it would set.
package profile

import "github.com/standpipe/standpipe/agent/config/internal/schema"

// All returns the presets by name.
func All() map[string]*schema.Preset {
	return map[string]*schema.Preset{"gateway": schema.MustPreset("gateway", gateway)}
}

// A flash card wears out by commits: each writes about 20 KB. With these values acks wait for up to a quarter of a second, and
// are synced all the same.
const gateway = `
wal {
  segment_size        = "16MiB"
  commit_linger       = "250ms"
  accepted_linger     = "1s"
  checkpoint_interval = "10s"
}
`
