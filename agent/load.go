package agent

import (
	"strings"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/internal/destination"
)

// Load reads the configuration at path, as config.Load does, for an agent of this program. A type of destination that the
// program has no sink for is a fault too.
func Load(path string) (*config.Config, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	if err := checkBuiltIn(c); err != nil {
		return nil, err
	}
	return c, nil
}

// logWarnings logs the settings of conf that are surely not as intended.
func (a *Agent) logWarnings(conf *config.Config) {
	for _, w := range conf.Warnings() {
		a.logger.Warn("configuration is valid but doubtful", "place", w.Pos.String(), "warning", w.Text)
	}
}

// checkBuiltIn returns a *config.FaultsError for the destinations without a sink.
func checkBuiltIn(c *config.Config) error {
	var faults []config.Fault
	for i := range c.Streams {
		for _, d := range c.Streams[i].Destinations {
			if _, err := destination.Of(d); err != nil {
				faults = append(faults, config.Fault{Pos: d.Pos, Text: "destination type \"" + d.Type + "\" is not part of this version; allowed is " + strings.Join(destination.Types(), ", ")})
			}
		}
	}
	if len(faults) == 0 {
		return nil
	}
	c.AddSources(faults)
	return &config.FaultsError{Faults: faults}
}
