package config

import "strings"

// Known lists every block and setting of the schema, "stream.destination.kinesis.batch.max_delay"
// for example.
func Known() (names []string) {
	for _, s := range Describe() {
		if top, _, _ := strings.Cut(s.Title, " "); top != "" {
			names = append(names, top)
		}
		for _, set := range s.Settings {
			names = append(names, set.Path)
		}
	}
	return append(names, "stream.destination")
}

// Settings removes from c all that is no setting, so that it can be compared.
func Settings(c *Config) *Config {
	c.texts, c.warnings, c.explained = nil, nil, nil
	return c
}
