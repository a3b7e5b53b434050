package access

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// maxTokenFile is the largest size of a token file in bytes.
const maxTokenFile = 1 << 20

// digest is a token's SHA-256 with a salt of this process. Tokens are looked up by digest, so the time of a lookup does not
// depend on a common prefix with a known token.
type digest [sha256.Size]byte

var salt = func() (s [16]byte) {
	rand.Read(s[:])
	return s
}()

func digestOf(token string) digest {
	return sha256.Sum256(append(salt[:], token...))
}

// tokenFile is a file of tokens, one a line. Blank lines and lines that begin with # are skipped.
type tokenFile struct {
	path    string
	sources *sources
	last    []digest // the present tokens; nil: never read; guarded by the owner's mutex
}

func newTokenFile(path string) *tokenFile {
	return &tokenFile{path: path, sources: newSources(path)}
}

// rewriteTime is how long a file may be empty or absent while another process rewrites it.
const rewriteTime = 100 * time.Millisecond

// use reads the file and returns its tokens, which are in force from then on. An empty or missing file has none: operators
// revoke the last token like this. An unusable file leaves the previous tokens in force, and err states why.
// A file that was never read before has to hold a token.
func (f *tokenFile) use(logger hclog.Logger) (tokens []digest, err error) {
	tokens, open, err := f.read()
	if len(f.last) > 0 && isGone(err) {
		time.Sleep(rewriteTime)
		tokens, open, err = f.read()
	}
	switch {
	case f.last != nil && isGone(err):
		if len(f.last) > 0 {
			logger.Warn("token file is empty or gone; its tokens are revoked", "file", f.path)
		}
		tokens = []digest{}
	case err != nil:
		return f.last, err
	case open:
		warnOpen(logger, "token", f.path)
	}
	f.last = tokens
	return tokens, nil
}

// The errors for a file without content, which is one that lists no token or no certificate.
var (
	errNoToken = errors.New("it has no token")
	errEmpty   = errors.New("it has no certificate")
)

// isGone reports whether err means that a file is missing or without content, and not that it is unreadable.
func isGone(err error) bool {
	return errors.Is(err, errNoToken) || errors.Is(err, errEmpty) || errors.Is(err, fs.ErrNotExist)
}

// read returns the tokens. open reports whether every user of this host can read the file.
func (f *tokenFile) read() (tokens []digest, open bool, err error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, false, fmt.Errorf("read tokens: %w", err)
	}
	if info.Size() > maxTokenFile {
		return nil, false, fmt.Errorf("read tokens: %s has %d bytes; allowed are %d", f.path, info.Size(), maxTokenFile)
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return nil, false, fmt.Errorf("read tokens: %w", err)
	}
	tokens, err = parseTokens(text)
	if err != nil {
		return nil, false, fmt.Errorf("read tokens: %s: %w", f.path, err)
	}
	return tokens, isOpen(info), nil
}

// isOpen reports whether every user of this host can read or write a file.
func isOpen(info os.FileInfo) bool { return info.Mode()&0o007 != 0 }

func parseTokens(text []byte) (tokens []digest, err error) {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		token := string(bytes.TrimSpace(line))
		if token == "" || token[0] == '#' {
			continue
		}
		if strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return nil, fmt.Errorf("line %d has a character that a token is not written with", n)
		}
		tokens = append(tokens, digestOf(token))
	}
	if len(tokens) == 0 {
		return nil, errNoToken
	}
	return tokens, nil
}
