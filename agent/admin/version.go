package admin

// Version is the release of this build. A release build sets it with
// -ldflags "-X github.com/standpipe/standpipe/agent/admin.Version=...".
var Version = "0.1.0"
