// Package config reads agent.hcl, the one file of the agent, into a Config.
//
// The promise: a file either becomes a Config that the agent can run with, every default filled in,
// or a FaultsError that names every mistake at once, each with its place:
//
//	agent.hcl:12:3: unknown setting "adress" in listener "grpc"; did you mean "address"?
//
// # The language
//
// The file is HCL's native syntax, of which a value uses little: a string in quotes, true or false,
// a whole number where things are counted, or a list of strings. Sizes, durations and rates are
// strings with a unit ("64MiB", "500KB", "5s", "256KiB/s", "1000/s"), so that no number is ever read in
// the wrong unit. There are no functions or expressions. In path, stream and
// delivery_stream of a destination, ${stream} stands for the name of the event's stream; it is kept
// as it is and replaced by Destination.For.
//
// # How it works
//
// schema.go lists every block and setting once, as data; block.go walks a parsed file along it;
// value.go and rate.go turn one expression into one value; check.go holds the rules that join several values;
// fault.go says where and what. Nothing here touches a file but Load, and nothing opens a socket,
// asks AWS or looks whether a named file exists: a file that is valid on one host is valid on another.
//
// # Limits
//
// A file may have 1 MiB, and brackets in it may be nested 100 deep. An expression that HCL would evaluate is refused, not evaluated, so the
// time and memory of a Parse depend on the size of the file alone.
package config
