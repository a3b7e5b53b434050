package config

import (
	"io"

	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// The types of faults, lists and documentation.
type (
	// Pos is a position in a configuration file. Defaults have the zero Pos.
	Pos = schema.Pos
	// Fault is one mistake in a configuration.
	Fault = schema.Fault
	// Explained is the value of one setting of a configuration, and its origin.
	Explained = schema.Explained
	// FaultsError is all mistakes in a configuration, in the order of its files.
	FaultsError = schema.FaultsError
	// List is a list of strings in one comparable value.
	List = schema.List
	// Section is the documentation of one block of the file, or of one type of a block with several types.
	Section = schema.SectionDoc
	// Setting is the documentation of one setting, or of a nested block if Block is set.
	Setting = schema.SettingDoc
)

// WriteFaults writes each fault as its place and text, its source line, and carets under its value.
func WriteFaults(w io.Writer, faults []Fault) error { return schema.WriteFaults(w, faults) }

// ListOf returns the list of the values.
func ListOf(values ...string) List { return schema.ListOf(values...) }
