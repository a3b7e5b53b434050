package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/standpipe/standpipe/agent/config/internal/folder"
	"github.com/standpipe/standpipe/agent/config/internal/pattern"
	"github.com/standpipe/standpipe/agent/config/internal/rule"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// checkFile checks the rules between blocks, after all blocks are read.
func checkFile(b *schema.Block, c *Config) {
	if !b.Has("listener") {
		c.Listeners = []Listener{loopbackListener()}
		stateOf(b).take("the listener that is there by default", "tcp", grpcAddress, Pos{})
	}
	if !b.Has("admin") {
		stateOf(b).take("the default address of admin", "tcp", adminAddress, Pos{})
	}
	stateOf(b).checkTaken(b)
	stateOf(b).checkRelays(b)
	stateOf(b).checkKeys(b, c)
	stateOf(b).checkReferences(b, c)
	stateOf(b).checkIdentities(b, c)
	warnFile(b, c)
}

func checkListener(b *schema.Block, l *Listener) {
	checkTopics(b, l)
	if !b.Wrote("address") {
		return
	}
	l.Mode = fileMode(b, l.Network, l.Mode)
	if !l.Insecure && (l.TLS == nil || l.Auth == nil) {
		checkLoopback(b, l.Network, l.Address, "append")
	}
	stateOf(b).take(b.Name, l.Network, l.Address, b.At("address"))
}

func checkAdmin(b *schema.Block, a *Admin) {
	a.Pos = b.Head
	a.Mode = fileMode(b, a.Network, a.Mode)
	if !a.Insecure && (a.TLS == nil || a.Auth == nil) {
		checkLoopback(b, a.Network, a.Address, "read the agent's state and its dead letters")
	}
	if a.Auth != nil && a.Auth.Identities == nil {
		a.Auth.Identities = []string{} // producers may not read the events of others
	}
	stateOf(b).take(b.Name, a.Network, a.Address, b.At("address"))
}

// fileMode returns the mode of an address: only a unix socket has one.
func fileMode(b *schema.Block, network string, written os.FileMode) os.FileMode {
	switch {
	case network == "unix" && !b.Wrote("mode"):
		return socketMode
	case network == "tcp" && b.Wrote("mode"):
		b.Fault(b.At("mode"), "mode: a TCP address has no file; allowed is mode beside a unix:/// address only")
	}
	return written
}

// checkLoopback adds a fault for an address that another host can reach.
func checkLoopback(b *schema.Block, network, address, could string) {
	if network == "unix" {
		return
	}
	if loopback(address) {
		return
	}
	b.Fault(b.At("address"), "address: %s is not loopback: anybody who reaches it could %s; "+
		"allowed is a loopback address, a unix socket, tls and auth, or insecure = true", schema.Quote(address), could)
}

// loopback reports whether host:port is an address that other hosts do not reach.
func loopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// taken is an address that a block binds.
type taken struct {
	by, network, address string
	pos                  Pos // zero for a default
}

func (st *state) take(by, network, address string, p Pos) {
	st.taken = append(st.taken, taken{by: by, network: network, address: address, pos: p})
}

// checkTaken adds a fault for every address that an earlier block or a default has bound.
func (st *state) checkTaken(b *schema.Block) {
	slices.SortStableFunc(st.taken, func(a, b taken) int { return a.pos.Compare(b.pos) })
	for i, later := range st.taken {
		for _, earlier := range st.taken[:i] {
			if !later.meets(earlier) {
				continue
			}
			b.Fault(later.pos, "address: %s is taken by %s; allowed is an address that no other block has",
				schema.Quote(later.address), earlier.where(later.pos))
			break
		}
	}
}

// where returns the block, with its line, for a fault at p.
func (t taken) where(p Pos) string {
	if t.pos.Line == 0 {
		return t.by
	}
	return fmt.Sprintf("%s at %s", t.by, t.pos.SeenFrom(p))
}

// meets reports whether the kernel would reject the second of both.
func (t taken) meets(o taken) bool {
	if t.network != o.network {
		return false
	}
	if t.network == "unix" {
		return filepath.Clean(t.address) == filepath.Clean(o.address)
	}
	host, port, _ := net.SplitHostPort(t.address)
	otherHost, otherPort, _ := net.SplitHostPort(o.address)
	// port 0 is any free port
	return port == otherPort && strings.Trim(port, "0") != "" &&
		(sameHost(host, otherHost) || everyHost(host) || everyHost(otherHost))
}

func sameHost(a, b string) bool {
	ipA, errA := netip.ParseAddr(strings.Replace(a, "localhost", "127.0.0.1", 1))
	ipB, errB := netip.ParseAddr(strings.Replace(b, "localhost", "127.0.0.1", 1))
	if errA != nil || errB != nil {
		return strings.EqualFold(a, b)
	}
	return ipA.Unmap() == ipB.Unmap()
}

func everyHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

func checkStream(b *schema.Block, s *Stream) {
	if !b.Wrote("max_age") {
		s.MaxAge = stateOf(b).maxAge
	}
	if !b.Wrote("commit_linger") {
		s.Linger.Commit = stateOf(b).wal.Linger.Commit
	}
	if !b.Wrote("accepted_linger") {
		s.Linger.Accepted = stateOf(b).wal.Linger.Accepted
	}
	if b.Wrote("on_full") && !b.Wrote("max_size") && !b.Misread("max_size") {
		b.Fault(b.At("on_full"), "on_full: %s has no max_size of its own to be full at; allowed is on_full beside max_size, or in wal", b.Name)
	}
	if b.Wrote("max_streams") && !pattern.Is(s.Name) {
		b.Fault(b.At("max_streams"), "max_streams: %s is one stream; allowed is max_streams beside a pattern, like \"meter-*\"", b.Name)
	}
	addShared(b, s)
	for i := range s.Destinations {
		if d := &s.Destinations[i]; d.Envelope != "" || d.Type == sqsType.name || d.Type == "s3" && d.S3.Format == "parquet" {
			d.Format = s.Format
		}
	}
	if !b.Has("destination") && len(stateOf(b).uses) == 0 && !b.Misread("destinations") {
		b.Fault(b.Head, `%s has no destination; needed is at least one block destination "TYPE" "NAME", or destinations = ["NAME"]`, b.Name)
	}
	stateOf(b).uses = nil
	for i := range s.Destinations {
		s.Destinations[i].Priority = s.Priority
	}
	checkCatchUp(b, s)
	warnStream(b, s)
}

// checkDestination checks the rules between a destination and its stream.
func checkDestination(b *schema.Block, s *Stream, d *Destination) {
	for _, other := range s.Destinations {
		if other.Name == d.Name {
			b.Fault(b.LabelPos[1], "destination %s is given twice in stream %s; a name may stand once, first at %s",
				schema.Quote(d.Name), schema.Quote(s.Name), other.Pos.SeenFrom(b.Head))
		}
		if d.Type == "file" && b.Wrote("path") && other.Type == "file" {
			checkPaths(b, s.Name, d, &other)
		}
	}
	checkFilledIn(b, s, d)
	warnDestination(b, s, d)
	if d.Type == "s3" && b.Wrote("bucket") && !b.Misread("prefix") {
		stateOf(b).s3 = append(stateOf(b).s3, s3Target{stream: s.Name, d: *d, pos: b.At("prefix")})
	}
}

// checkFilledIn checks the settings with ${stream} again with the stream's name in them.
func checkFilledIn(b *schema.Block, s *Stream, d *Destination) {
	if pattern.Is(s.Name) {
		return
	}
	filled := d.For(s.Name)
	for _, set := range []struct {
		name, template, value, allowed string
		wrong                          func(string) string
	}{
		{"topic", d.Kafka.Topic, filled.Kafka.Topic, kafkaTopic, rule.Topic},
		{"queue_url", d.SQS.QueueURL, filled.SQS.QueueURL, queueURL, rule.QueueURL},
	} {
		if !b.Wrote(set.name) || set.template == set.value {
			continue
		}
		if wrong := set.wrong(set.value); wrong != "" {
			b.Fault(b.At(set.name), "%s: %s %s for stream %s; allowed is %s", set.name, schema.Quote(set.value), wrong, schema.Quote(s.Name), set.allowed)
		}
	}
}

// checkPaths requires that the folders of two file destinations are apart, for every stream of that name or pattern:
// each destination would treat the other's unfinished files as its own, and operators could not distinguish the hour
// folders. Streams may share a folder: the name of a file contains its stream.
func checkPaths(b *schema.Block, name string, d, other *Destination) {
	mine, theirs := folder.Real(name, d.Path), folder.Real(name, other.Path)
	switch {
	case pattern.Meet(name, mine, theirs):
		b.Fault(b.At("path"), "path: %s is the path of destination %s at %s too; allowed is a folder of its own",
			schema.Quote(d.Path), schema.Quote(other.Name), other.Pos.SeenFrom(b.Head))
	case folder.In(name, mine, theirs): // as PATH/2026 in PATH
		b.Fault(b.At("path"), "path: %s lies in the path of destination %s at %s; allowed is a folder beside it",
			schema.Quote(d.Path), schema.Quote(other.Name), other.Pos.SeenFrom(b.Head))
	case folder.In(name, theirs, mine):
		b.Fault(b.At("path"), "path: %s contains the path of destination %s at %s; allowed is a folder beside it",
			schema.Quote(d.Path), schema.Quote(other.Name), other.Pos.SeenFrom(b.Head))
	}
}

// checkAggregateBy requires KPL records for records of several keys, since consumers need the key of each event, and an
// order that lets a request have several records.
func checkAggregateBy(b *schema.Block, d *Destination) {
	switch {
	case d.AggregateBy != "shard":
	case d.Aggregate != "kpl":
		b.Fault(b.At("aggregate_by"), "aggregate_by: %s puts several keys into a record, and aggregate = %s "+
			"does not store the keys; allowed is shard with aggregate = \"kpl\"", schema.Quote(d.AggregateBy), schema.Quote(d.Aggregate))
	case d.Order == "strict":
		b.Fault(b.At("aggregate_by"), "aggregate_by: order = \"strict\" names each key's record before; allowed is shard with "+
			"order = \"key\" or \"none\"")
	}
}

// checkCompression rejects compression of records that the service or the consumers' library has to split.
func checkCompression(b *schema.Block, d *Destination) {
	if d.Compression == "none" {
		return
	}
	if d.Type == "kinesis" && d.Aggregate == "kpl" {
		b.Fault(b.At("compression"), "compression: the library of consumers splits records with aggregate = \"kpl\", "+
			"and cannot split compressed ones; allowed is %s with aggregate = \"lines\" or \"none\"", d.Compression)
	}
	if d.OneKeyPerRecord {
		b.Fault(b.At("compression"), "compression: dynamic partitioning, which one_key_per_record is for, can't read a compressed "+
			"record; allowed is one of the two")
	}
}

// checkAWS adds a fault for every setting that a destination has twice: in its aws block and beside it. A role's settings need
// a role.
func checkAWS(b *schema.Block, d *Destination) {
	for _, name := range []string{"external_id", "session_name"} {
		if d.AWS.RoleARN == "" && b.Wrote(name) {
			b.Fault(b.At(name), "%s: %s has no role_arn that it could be used for; allowed is %s beside role_arn", name, b.Name, name)
		}
	}
	for _, nested := range b.Nested("aws") {
		for _, set := range awsSection.Settings {
			within, ok := nested.Attribute(set.Name)
			beside, too := b.Attribute(set.Name)
			if ok && too {
				b.Fault(within, "%s is given twice in %s; it may stand once, in the aws block or beside it as at %s",
					set.Name, b.Name, beside.SeenFrom(b.Head))
			}
		}
	}
}

// checkRetry requires initial <= max. It lowers the default of initial to max.
func checkRetry(b *schema.Block, r *Retry) {
	if r.Initial <= r.Max || b.Misread("max") {
		return
	}
	if !b.Wrote("initial") {
		r.Initial = r.Max
		return
	}
	b.Fault(b.At("initial"), "initial: %s is over max; allowed is at most %s", schema.DurationText(r.Initial), schema.DurationText(r.Max))
}
