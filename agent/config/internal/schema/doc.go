// Package schema reads files in HCL native syntax by tables of blocks and settings, and describes these tables.
//
// # Contract
//
// A Section lists the settings and the nested blocks of one kind of block. ReadConfiguration reads files into a value with the
// defaults, by the Section of the top level. It returns either no error or a *FaultsError with every mistake in the files and
// its position. Each setting is read by a constructor for its type, as Text, Size or Duration, which also checks the allowed values.
// Checks between settings are functions of the Section. Facts about other blocks are in a state of the caller.
//
// SectionDoc and SettingDoc are the documentation of the same tables.
//
// # Assumptions
//
// A Section is not changed while it is used. The environment does not change while files are read.
//
// # Limits
//
// Files have at most 1 MiB together, and brackets are nested at most 100 deep. There are no expressions but strings with
// variables: those of the setting, and of the environment.
package schema
