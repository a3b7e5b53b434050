// Package config reads agent.hcl, the configuration file of the agent, or a folder of such files, into a Config.
//
// # Contract
//
// Load and Parse return either a Config that the agent can run with, with all defaults filled in, or a FaultsError with
// every mistake in the file and its position:
//
//	agent.hcl:12:3: unknown setting "adress" in listener "grpc"; did you mean "address"?
//
// Config.Warnings has the settings that are valid but surely not as intended. WriteFaults writes faults and warnings with the
// line of the file, and carets below the value.
//
// Only Load reads a file. No function opens a socket, sends a request to AWS or checks that a named file exists: a file
// that is valid on one host is valid on another with the same environment variables. The one exception are the folders of
// file destinations, whose symbolic links are resolved to find two destinations with the same folder.
//
// # The language
//
// The file is HCL native syntax without expressions and functions. A value is a string in quotes, true or false, a whole
// number for a count, a list of these, or a map of strings. Sizes, durations and rates are strings with a unit: "64MiB",
// "500KB", "5s", "256KiB/s", "1000/s". The settings that name a destination's target may contain ${stream}, which
// Destination.For replaces by the name of the event's stream. Every string may contain ${env.NAME} and
// ${env("NAME", "default")}. Any other expression is a fault.
//
// # Files
//
//   - schema.go, listener.go, identity.go, prices.go: the blocks and settings, as tables.
//   - destination.go, and a file for each larger type, as kafka.go: the same for destinations.
//   - shared.go: destinations for several streams.
//   - internal/rule, internal/folder, internal/pattern: the rules for single values.
//   - internal/schema: reads files by these tables, with the positions and texts of mistakes, and describes the tables.
//   - check.go: the rules between several settings.
//   - warn.go: the warnings.
//
// testdata/faulty.txt and testdata/doubtful.txt list mistakes with their texts; go test -update writes the texts.
//
// # Limits
//
// The files have at most 1 MiB together, and brackets are nested at most 100 deep. Time and memory of Parse depend only on
// the size of the files.
package config

//go:generate go run ../../scripts/configdoc ../../docs/configuration.md
