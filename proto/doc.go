// Package proto is the root of the wire contract: standpipe/v1/standpipe.proto and the Go code
// that is generated from it.
//
// The generator needs no protoc: protocompile parses the contract and the two plugins are tools
// of this module (see the tool lines of go.mod), so that their versions are pinned with every
// other dependency. After a change of the contract run
//
//	go generate ./proto/...
//
// A test keeps the committed files equal to the generated ones.
package proto

//go:generate go test -count=1 -run=^TestGeneratedFilesAreCurrent$ . -update
