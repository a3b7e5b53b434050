package admin

// Problem is a condition that affects producers or consumers, or will soon.
type Problem struct {
	// Kind is one word for the condition. docs/operating.md lists all kinds with cause and remedy.
	Kind        string   `json:"kind"`
	Severity    Severity `json:"severity"`
	Stream      string   `json:"stream,omitempty"`      // empty: it concerns the agent
	Destination string   `json:"destination,omitempty"` // empty: it concerns the stream
	Since       Time     `json:"since"`
	Text        string   `json:"text"`
	Remedy      string   `json:"remedy"`
}

// Severity sorts problems.
type Severity string

// The severities.
const (
	// Critical: events are rejected, dropped or not delivered until an operator acts.
	Critical Severity = "critical"
	// Warning: nothing is lost or held up yet, or only for a time.
	Warning Severity = "warning"
)

// Accepting is whether appends are accepted.
type Accepting struct {
	OK bool `json:"ok"`
	// Reason is empty, starting, draining, failed, wal_full, disk_full or min_free.
	Reason string `json:"reason"`
	Since  Time   `json:"since"` // of the reason; zero: OK
}

// ReloadStatus is the last reload of the configuration.
type ReloadStatus struct {
	At    Time   `json:"at"` // zero: there was none since the start
	OK    bool   `json:"ok"`
	Error string `json:"error"`
	// Changes is empty if the reload failed.
	Changes ReloadChanges `json:"changes"`
}

// ReloadChanges are the changes of a reload. Destinations are named "stream/name".
type ReloadChanges struct {
	Streams     int      `json:"streams"`      // stream blocks of the configuration
	Listeners   int      `json:"listeners"`    // listener blocks of the configuration
	Started     []string `json:"started"`      // destinations that are new or have changed settings
	Parked      []string `json:"parked"`       // destinations that the configuration no longer has, with their pending events
	NeedRestart []string `json:"need_restart"` // changed settings that take effect at the next start
}
