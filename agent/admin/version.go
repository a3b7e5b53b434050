package admin

// Version is the release that this build belongs to. A release build sets it with
// -ldflags "-X github.com/standpipe/standpipe/agent/admin.Version=...".
var Version = "0.1.0"
