package rule

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// bucket is the rule for names of general purpose buckets: Amazon S3 User Guide, November 2026.
var bucket = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// Bucket accepts the name of a general purpose bucket.
func Bucket(s string) string {
	_, err := netip.ParseAddr(s)
	switch {
	case s == "":
		return "is empty"
	case !bucket.MatchString(s) || strings.Contains(s, "..") || err == nil || strings.HasPrefix(s, "xn--") || strings.HasPrefix(s, "sthree-"):
		return "is no name of a bucket"
	}
	return ""
}

// strftime are the conversions of a prefix.
const strftime = "YmdHMSjysF%"

// maxPrefix leaves room for the rest of a key, which has at most 1,024 bytes: the name of a stream, an ID of a log, an offset
// and an extension.
const maxPrefix = 700

// Prefix is the rule for the beginning of keys, with its conversions.
func Prefix(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		i++
		if i == len(s) || !strings.ContainsRune(strftime, rune(s[i])) {
			return fmt.Sprintf("has the conversion %q, which is none of %s", conversion(s[i-1:]), conversions())
		}
	}
	if len(s) > maxPrefix {
		return fmt.Sprintf("has more than %d bytes", maxPrefix)
	}
	return ""
}

// conversion returns the conversion at the beginning of s.
func conversion(s string) string {
	_, width := utf8.DecodeRuneInString(s[1:])
	return s[:1+width]
}

func conversions() string {
	return "%" + strings.Join(strings.Split(strftime, ""), " %")
}

// WrongTag reports whether s has a character that S3 does not take in a tag.
func WrongTag(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return c < 0x80 && !schema.NameChar(c) && !strings.ContainsRune(" +=:/@", c) })
}
