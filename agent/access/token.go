package access

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
)

// maxTokenFile is how many bytes a token file may have.
const maxTokenFile = 1 << 20

// digest is a token's SHA-256 under a salt of this process. Tokens are looked up by it, which takes the same
// time for all that a guess could be made to share with a known one.
type digest [sha256.Size]byte

var salt = func() (s [16]byte) {
	rand.Read(s[:])
	return s
}()

func digestOf(token string) digest {
	return sha256.Sum256(append(salt[:], token...))
}

// tokenFile is a file of tokens, one a line; blank lines and those that begin with # are passed over.
type tokenFile struct {
	path    string
	sources *sources
}

func newTokenFile(path string) *tokenFile {
	return &tokenFile{path: path, sources: newSources(path)}
}

// read returns the tokens. open tells that everybody on this host can read the file.
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

// isOpen reports whether everybody on this host can get at a file.
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
		return nil, errors.New("it has no token")
	}
	return tokens, nil
}
