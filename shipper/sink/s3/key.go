package s3

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

// extensions of the keys, by format and compression. The pages of a Parquet object name their own compression.
var extensions = map[string]string{
	JSONL + " " + string(shipper.Plain):   ".jsonl",
	JSONL + " " + string(shipper.Gzip):    ".jsonl.gz",
	JSONL + " " + string(shipper.Zstd):    ".jsonl.zst",
	Parquet + " " + string(shipper.Plain): ".parquet",
	Parquet + " " + string(shipper.Gzip):  ".parquet",
	Parquet + " " + string(shipper.Zstd):  ".parquet",
}

// conversion is a strftime conversion: its layout for time.Format, and a regular expression for its results.
type conversion struct{ layout, pattern string }

var conversions = map[byte]conversion{
	'Y': {"2006", `\d{4}`},
	'y': {"06", `\d{2}`},
	'm': {"01", `\d{2}`},
	'd': {"02", `\d{2}`},
	'j': {"002", `\d{3}`},
	'H': {"15", `\d{2}`},
	'M': {"04", `\d{2}`},
	'S': {"05", `\d{2}`},
	'F': {"2006-01-02", `\d{4}-\d{2}-\d{2}`},
	's': {"", `\d+`}, // seconds since 1970
	'%': {"", `%`},
}

// prefix is a parsed prefix of keys: literal text and conversions in turns.
type prefix struct {
	literals    []string // one more than conversions
	conversions []byte
}

// parsePrefix parses a prefix with strftime conversions.
func parsePrefix(s string) (prefix, error) {
	var p prefix
	for {
		before, after, found := strings.Cut(s, "%")
		p.literals = append(p.literals, before)
		if !found {
			return p, nil
		}
		if after == "" {
			return p, fmt.Errorf("s3: prefix ends in a single %%")
		}
		if _, known := conversions[after[0]]; !known {
			return p, fmt.Errorf("s3: unknown conversion %%%c in the prefix", after[0])
		}
		p.conversions = append(p.conversions, after[0])
		s = after[1:]
	}
}

// expand returns the prefix for a time.
func (p prefix) expand(at time.Time) string {
	at = at.UTC()
	var b strings.Builder
	for i, literal := range p.literals {
		b.WriteString(literal)
		if i == len(p.conversions) {
			break
		}
		switch c := p.conversions[i]; c {
		case '%':
			b.WriteByte('%')
		case 's':
			fmt.Fprint(&b, at.Unix())
		default:
			b.WriteString(at.Format(conversions[c].layout))
		}
	}
	return b.String()
}

// literal returns the text that every expansion begins with.
func (p prefix) literal() string { return p.literals[0] }

// pattern returns a regular expression for the expansions.
func (p prefix) pattern() string {
	var b strings.Builder
	for i, literal := range p.literals {
		b.WriteString(regexp.QuoteMeta(literal))
		if i < len(p.conversions) {
			b.WriteString(conversions[p.conversions[i]].pattern)
		}
	}
	return b.String()
}

// ValidPrefix returns an error if a prefix has a conversion that keys cannot have.
func ValidPrefix(s string) error {
	_, err := parsePrefix(s)
	return err
}

// namer names the objects of a stream.
type namer struct {
	prefix prefix
	stem   string // STREAM-LOGID-
	mine   *regexp.Regexp
}

func newNamer(o *Options) (namer, error) {
	p, err := parsePrefix(o.Prefix)
	if err != nil {
		return namer{}, err
	}
	stem := o.Stream + "-" + o.LogID + "-"
	mine, err := regexp.Compile("^" + p.pattern() + regexp.QuoteMeta(stem) + `\d{20}\.(jsonl|jsonl\.gz|jsonl\.zst|parquet)$`)
	return namer{p, stem, mine}, err
}

// key returns the key of the object whose first event is at the offset first.
func (n *namer) key(at time.Time, first uint64, extension string) string {
	return fmt.Sprintf("%s%s%020d%s", n.prefix.expand(at), n.stem, first, extension)
}

// search returns the longest beginning that all keys of the stream and log have in common.
func (n *namer) search() string {
	if len(n.prefix.conversions) > 0 {
		return n.prefix.literal()
	}
	return n.prefix.literal() + n.stem
}

// owns reports whether a key is one of the stream and log.
func (n *namer) owns(key string) bool { return n.mine.MatchString(key) }
