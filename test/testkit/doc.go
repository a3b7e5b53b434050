// Package testkit holds the helpers that the tests of several packages share. Only tests import it: the rules of the
// project (rules_test.go) let no package of the program do so.
//
// A helper that one package alone needs stays there. A helper that is not about a type of this project depends on the
// standard library only. testkit imports wal, so the white-box tests of wal (package wal) cannot use it; those in
// package wal_test can.
//
// # Tests that a machine cannot run
//
// Tests of faults need tools (strace, socat), stand-ins for AWS, and rights (to mount a file system). A test that
// finds one missing calls Missing or NotTested. Both write a line to the test's output and to the file that
// STANDPIPE_NOT_TESTED names; `make test` prints that file, because go test hides the output of a test that passes.
// With STANDPIPE_TEST_COMPLETE set, as .ci/run sets it, Missing is a failure: everything that `make standins`
// installs must then be present.
package testkit
