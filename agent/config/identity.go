package config

import (
	"fmt"
	"math"
	"slices"

	"github.com/standpipe/standpipe/agent/config/internal/odd"
	"github.com/standpipe/standpipe/agent/config/internal/rule"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

var identitySection = schema.Section[Identity]{
	Settings: []schema.Setting[Identity]{
		schema.Text("token_file", tokenFile, func(i *Identity) *string { return &i.TokenFile }, schema.NotEmpty).Warns(odd.Path).
			Means("Bearer tokens of the identity, one a line. A changed file is read again."),
		schema.Strings("certificates", `a list of names in certificates, like ["meter-*"]`, func(i *Identity) *[]string { return &i.Certificates }, schema.NotEmpty).
			Means("Patterns for the names in a verified client certificate."),
		schema.Numbers("uids", "a list of user ids, like [1001]", func(i *Identity) *[]int64 { return &i.UIDs }, math.MaxUint32).
			Means("The users of processes on a unix socket."),
		schema.Numbers("gids", "a list of group ids, like [1001]", func(i *Identity) *[]int64 { return &i.GIDs }, math.MaxUint32).
			Means("The groups of processes on a unix socket."),
		schema.Limiting("streams", `a list of streams' names or patterns, like ["meter-*"]`, func(i *Identity) *[]string { return &i.Streams }, rule.Pattern).ByDefault("all streams").
			Means("The streams that the identity may write to."),
		schema.Strings("read", `a list of streams' names or patterns, like ["meter-*"]`, func(i *Identity) *[]string { return &i.Read }, rule.Pattern).
			Means("The streams that the identity may read. An identity reads nothing by default."),
		schema.CountRate("max_events", "1000/s", func(i *Identity) *int64 { return &i.MaxEvents }).
			Means("The limit for the events on all listeners together."),
		schema.ByteRate("max_bytes", "1MiB/s", func(i *Identity) *int64 { return &i.MaxBytes }, 1).
			Means("The limit for the bytes of data and attributes on all listeners together."),
	},
	Check: func(b *schema.Block, i *Identity) {
		for _, way := range []string{"token_file", "certificates", "uids", "gids"} {
			if _, written := b.Attribute(way); written {
				return
			}
		}
		b.Fault(b.Head, "%s has no credentials; needed is token_file, certificates, uids or gids", b.Name)
	},
}

func readIdentity(b *schema.Block, c *Config) {
	i := Identity{Name: b.Labels[0], Pos: b.Head}
	if err := ValidStreamName(i.Name); err != nil {
		b.Fault(b.LabelPos[0], "identity name %v", err)
	}
	identitySection.Read(b, &i)
	for _, other := range c.Identities {
		if other.Name == i.Name {
			b.Fault(b.LabelPos[0], "identity %s is given twice; a name may stand once, first at %s", schema.Quote(i.Name), other.Pos.SeenFrom(b.Head))
			return
		}
	}
	c.Identities = append(c.Identities, i)
}

// authBlock is the auth block of a listener. checkIdentities checks it after all identities are read.
type authBlock struct {
	auth *Auth
	b    *schema.Block
}

func checkAuth(b *schema.Block, a *Auth) {
	stateOf(b).auths = append(stateOf(b).auths, authBlock{a, b})
}

func (st *state) checkIdentities(b *schema.Block, c *Config) {
	for _, a := range st.auths {
		for _, name := range a.auth.Identities {
			if !slices.ContainsFunc(c.Identities, func(i Identity) bool { return i.Name == name }) {
				var names []string
				for _, i := range c.Identities {
					names = append(names, i.Name)
				}
				instead := "allowed are names that identity blocks have"
				if near, ok := schema.Nearest(name, names); ok {
					instead = fmt.Sprintf("did you mean %q?", near)
				}
				b.Fault(a.b.At("identities"), "identities: no identity block is called %s; %s", schema.Quote(name), instead)
			}
		}
		noCaller := len(c.Identities) == 0 || a.auth.Identities != nil && len(a.auth.Identities) == 0
		if noCaller && a.auth.TokenFile == "" && !a.b.Misread("token_file") && !a.b.Misread("identities") {
			b.Fault(a.b.Head, "auth accepts no caller; needed is token_file, or identities that identity blocks have")
		}
	}
}
