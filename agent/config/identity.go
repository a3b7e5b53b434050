package config

import (
	"math"
	"slices"
)

var identitySection = section[Identity]{
	settings: []setting[Identity]{
		text("token_file", tokenFile, func(i *Identity) *string { return &i.TokenFile }, notEmpty).
			means("Bearer tokens of the identity, one a line. A changed file is read again."),
		list("certificates", `a list of names in certificates, like ["meter-*"]`, func(i *Identity) *[]string { return &i.Certificates }, notEmpty).
			means("Patterns for the names in a verified client certificate."),
		numbers("uids", "a list of user ids, like [1001]", func(i *Identity) *[]int64 { return &i.UIDs }, math.MaxUint32).
			means("The users of processes on a unix socket."),
		numbers("gids", "a list of group ids, like [1001]", func(i *Identity) *[]int64 { return &i.GIDs }, math.MaxUint32).
			means("The groups of processes on a unix socket."),
		limiting("streams", `a list of streams' names or patterns, like ["meter-*"]`, func(i *Identity) *[]string { return &i.Streams }, wrongPattern).byDefault("all streams").
			means("The streams that the identity may write to."),
		countRate("max_events", "1000/s", func(i *Identity) *int64 { return &i.MaxEvents }).
			means("The limit for the events on all listeners together."),
		byteRate("max_bytes", "1MiB/s", func(i *Identity) *int64 { return &i.MaxBytes }, 1).
			means("The limit for the bytes of data and attributes on all listeners together."),
	},
	check: func(b *block, i *Identity) {
		for _, way := range []string{"token_file", "certificates", "uids", "gids"} {
			if _, written := b.attribute(way); written {
				return
			}
		}
		b.fault(b.head, "%s has no credentials; needed is token_file, certificates, uids or gids", b.what)
	},
}

func readIdentity(b *block, c *Config) {
	i := Identity{Name: b.labels[0], Pos: b.head}
	if err := ValidStreamName(i.Name); err != nil {
		b.fault(b.labelPos[0], "identity name %v", err)
	}
	identitySection.read(b, &i)
	for _, other := range c.Identities {
		if other.Name == i.Name {
			b.fault(b.labelPos[0], "identity %s is given twice; a name may stand once, first at %s", quote(i.Name), other.Pos.seenFrom(b.head))
			return
		}
	}
	c.Identities = append(c.Identities, i)
}

func wrongPattern(s string) string {
	if err := validPattern(s); err != nil {
		return "is no stream's name or pattern"
	}
	return ""
}

// authBlock is the auth block of a listener. checkIdentities checks it after all identities are read.
type authBlock struct {
	auth *Auth
	b    *block
}

func checkAuth(b *block, a *Auth) { stateOf(b).auths = append(stateOf(b).auths, authBlock{a, b}) }

func (st *state) checkIdentities(b *block, c *Config) {
	for _, a := range st.auths {
		for _, name := range a.auth.Identities {
			if !slices.ContainsFunc(c.Identities, func(i Identity) bool { return i.Name == name }) {
				b.fault(a.b.at("identities"), "identities: no identity block is called %s; allowed are names that identity blocks have", quote(name))
			}
		}
		noCaller := len(c.Identities) == 0 || a.auth.Identities != nil && len(a.auth.Identities) == 0
		if noCaller && a.auth.TokenFile == "" && !a.b.misread("token_file") && !a.b.misread("identities") {
			b.fault(a.b.head, "auth accepts no caller; needed is token_file, or identities that identity blocks have")
		}
	}
}
