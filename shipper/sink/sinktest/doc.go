// Package sinktest is the conformance suite of the sinks: the promises of shipper.Sink that a test can check on one
// sink. Every sink runs it, on a fake of its service that can fail single requests.
//
// A sink declares its properties by its shipper.Shape, by the optional interfaces that it implements (shipper.Keeper), and
// by the fields of Target. Run selects the tests by these declarations. It fails if a Target lacks a fault that the
// declaration calls for: a sink that stores the records of a batch one by one has to show that it reports a failed
// record beside stored ones.
package sinktest
