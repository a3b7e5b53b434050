package condition

import (
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/wal"
)

// kinds are all kinds of problems, the worst first.
var kinds = []kind{
	{
		name: "failed", severity: admin.Critical, logged: true,
		remedy: "check the disk, then start the agent again; stored events are kept",
		agent: func(f *Facts) []string {
			return when(f.Status.WAL.Failed != "", "the WAL has failed and rejects all events: %s", f.Status.WAL.Failed)
		},
	},
	{
		name: "wal_full", severity: admin.Critical,
		remedy: "mend the destinations that deliver nothing, or raise max_size of the wal block",
		agent: func(f *Facts) []string {
			return when(f.Shortage == wal.FullWAL, "events are %s: the WAL is full, %s of max_size %s are in use and the rest is reserved for compaction",
				f.fullOutcome(), size(f.Status.WAL.Bytes), size(f.Status.WAL.MaxBytes))
		},
	},
	{
		name: "disk_full", severity: admin.Critical,
		remedy: "free disk space on the volume of data_dir, or move data_dir",
		agent: func(f *Facts) []string {
			return when(f.Shortage == wal.FullDisk, "events are %s: the disk is full, %s of %s left",
				f.fullOutcome(), size(f.Volume.Free), size(f.Volume.Size))
		},
	},
	{
		name: "min_free", severity: admin.Critical,
		remedy: "free disk space on the volume of data_dir, or lower min_free of the wal block",
		agent: func(f *Facts) []string {
			return when(f.LowSpace, "events are not accepted: %s of %s left, less than min_free %s",
				size(f.Volume.Free), size(f.Volume.Size), size(f.MinFree))
		},
	},
	{
		name: "blocked", severity: admin.Critical, logged: true,
		remedy: "change the cause that the error names; the agent tries again every retry.max",
		destination: func(_ *Facts, _ *admin.StreamStatus, d *admin.DestinationStatus) string {
			return perDestination(d.State == admin.Blocked, "blocked with %s pending: %s", events(d.Pending.Events), d.LastError)
		},
	},
	{
		name: "dropping", severity: admin.Critical,
		remedy: "a policy (drop_oldest, max_age, max_size of a stream) or damage drops events: mend the destination, or change the policy",
		destination: func(f *Facts, stream *admin.StreamStatus, d *admin.DestinationStatus) string {
			last := f.Dropped(stream.Name, d.Name)
			return perDestination(!last.IsZero() && f.Now.Sub(last) < droppingFor, "events are dropped: %s so far", events(d.Dropped.Events))
		},
	},
	{
		name: "reload_failed", severity: admin.Critical, logged: true,
		remedy: "mend the configuration file and reload; `standpipe validate` shows all faults",
		agent: func(f *Facts) []string {
			r := f.Status.Reload
			return when(!r.At.IsZero() && !r.OK, "the configuration was not reloaded; the previous one stays in force: %s", r.Error)
		},
	},
	{
		name: "damaged", severity: admin.Critical,
		remedy: "see `standpipe wal verify`; delete the files that were set aside once nothing in them is needed",
		agent: func(f *Facts) []string {
			files := f.Status.WAL.SetAside
			return when(len(files) > 0, "damaged files were set aside: %s", strings.Join(files, ", "))
		},
	},
	{
		name: "certificate_expired", severity: admin.Critical,
		remedy: "renew the certificate; the agent reads the changed file by itself",
		agent: func(f *Facts) (texts []string) {
			for _, c := range f.Certificates {
				texts = append(texts, when(!f.Now.Before(c.Expires), "the certificate %s has expired; clients reject it", c.File)...)
			}
			return texts
		},
	},
	{
		name: "full_soon", severity: admin.Warning,
		remedy: "mend the destinations that fall behind, or raise max_size of the wal block",
		agent: func(f *Facts) []string {
			soon := f.UntilFull > 0 && f.UntilFull < fullWithin && f.Shortage == wal.NoShortage
			return when(soon, "the WAL is full in about %s", admin.Age(f.UntilFull))
		},
	},
	{
		name: "certificate_expiring", severity: admin.Warning,
		remedy: "renew the certificate; the agent reads the changed file by itself",
		agent: func(f *Facts) (texts []string) {
			for _, c := range f.Certificates {
				soon := f.Now.Before(c.Expires) && c.Expires.Sub(f.Now) < expiresWithin
				texts = append(texts, when(soon, "the certificate %s expires at %s", c.File, c.Expires.UTC().Format("2006-01-02 15:04 UTC"))...)
			}
			return texts
		},
	},
	{
		name: "behind", severity: admin.Warning,
		remedy: "see the destination's last error, pace and quota; a destination that gets more than it takes needs a higher quota",
		destination: func(_ *Facts, _ *admin.StreamStatus, d *admin.DestinationStatus) string {
			late := d.Pending.Events > 0 && d.Pending.Oldest() >= behindAfter && (d.State == admin.Running || d.State == admin.Waiting)
			text := perDestination(late, "%s pending, the oldest for %s", events(d.Pending.Events), admin.Age(d.Pending.Oldest()))
			if late && d.LastError != "" {
				text += ": " + d.LastError
			}
			return text
		},
	},
	{
		name: "parked", severity: admin.Warning,
		remedy: "put the destination back into the configuration under this name and stream, or drop its events with `standpipe destination forget`",
		destination: func(_ *Facts, _ *admin.StreamStatus, d *admin.DestinationStatus) string {
			return perDestination(d.State == admin.Parked && d.Pending.Events > 0,
				"not in the configuration any more, and holds %s (%s), the oldest for %s; it gets no new ones",
				events(d.Pending.Events), humanize.IBytes(d.Pending.Bytes), admin.Age(d.Pending.Oldest()))
		},
	},
	{
		name: "paused", severity: admin.Warning,
		remedy: "resume it with `standpipe destination resume`; until then its events use space",
		destination: func(_ *Facts, _ *admin.StreamStatus, d *admin.DestinationStatus) string {
			return perDestination(d.State == admin.Paused, "paused by an operator since %s, with %s pending",
				d.PausedAt.UTC().Format("2006-01-02 15:04 UTC"), events(d.Pending.Events))
		},
	},
	{
		name: "link_down", severity: admin.Warning, logged: true,
		remedy: "run `standpipe link up`, or mend the hook that set the link down",
		agent: func(f *Facts) []string {
			return when(!f.LinkDown.IsZero(), "the link was set down at %s; nothing is sent", f.LinkDown.UTC().Format("2006-01-02 15:04 UTC"))
		},
	},
	{
		name: "clock_unset", severity: admin.Warning, logged: true,
		remedy: "start the time service of the host, or set the clock; until then certificates may count as not yet valid",
		agent: func(f *Facts) []string {
			return when(f.ClockUnset != "", "the clock is not set: %s; times of events are corrected once it is set", f.ClockUnset)
		},
	},
	{
		name: "dead_letters", severity: admin.Warning,
		remedy: "see `standpipe dead ls` for the reasons; then requeue the letters, or drop them",
		destination: func(_ *Facts, _ *admin.StreamStatus, d *admin.DestinationStatus) string {
			return perDestination(d.DeadLetters > 0, "the destination rejected %s for good: they are kept as dead letters", events(d.DeadLetters))
		},
	},
	{
		name: "state_full", severity: admin.Warning,
		remedy: "raise max_size of the wal block, or use fewer streams and producers",
		agent: func(f *Facts) []string {
			return when(f.Status.WAL.StateFull, "new streams and producers are rejected: the state takes %s of %s",
				size(f.Status.WAL.StateBytes), size(f.Status.WAL.MaxStateBytes))
		},
	},
	{
		name: "max_size_over_disk", severity: admin.Warning,
		remedy: "lower max_size of the wal block, or free disk space: a backlog would fill the volume before it reaches max_size",
		agent: func(f *Facts) []string {
			w, v := f.Status.WAL, f.Volume
			return when(v.Size > 0 && w.Bytes+w.DeadBytes+v.Free < w.MaxBytes, "max_size is %s, and the volume of %s has %s for the WAL",
				size(w.MaxBytes), f.DataDir, size(w.Bytes+w.DeadBytes+v.Free))
		},
	},
	{
		name: "volatile_data_dir", severity: admin.Warning,
		remedy: "set data_dir to a folder on a disk: a restart of the host or of the container deletes the events",
		agent: func(f *Facts) []string {
			kind := f.Volume.Kind
			return when(kind == "tmpfs" || kind == "ramfs" || kind == "overlay", "%s is on %s", f.DataDir, kind)
		},
	},
	{
		name: "network_data_dir", severity: admin.Warning,
		remedy: "set data_dir to a folder on a local disk: a file system over a network may hang, and may not sync",
		agent: func(f *Facts) []string {
			kind := f.Volume.Kind
			return when(kind != "" && kind != "tmpfs" && kind != "ramfs" && kind != "overlay", "%s is on %s", f.DataDir, kind)
		},
	},
}

// fullOutcome returns the fate of events while the WAL is full.
func (f *Facts) fullOutcome() string {
	if f.DropsOldest {
		return "dropped to make room"
	}
	return "not accepted"
}
