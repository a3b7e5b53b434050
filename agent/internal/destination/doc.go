// Package destination has the table of the types of destinations: for each TYPE of a destination block, how its sink is
// built from the configuration, and what it uses. The package config has the settings of each type, in a table of its own.
//
// A new type of destination is a package below shipper/sink, an entry in each of the two tables, and a file here that maps
// its settings to the options of the sink.
//
// The package also keeps the states of sinks apart: a cursor has one state, and a destination may change its type.
package destination
