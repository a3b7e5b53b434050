// Package boltpage reads bbolt files page by page, without bbolt: a bad page costs one error, and a file can be read
// beside the process that writes it.
package boltpage
