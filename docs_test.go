package standpipe_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
)

var (
	fence     = regexp.MustCompile("(?ms)^ *```([a-z]*)\n(.*?)^ *```$")
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading   = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	goPackage = regexp.MustCompile(`\bgo (?:test|run|tool)\b[^\n]*?(\./[a-z0-9/.]+)`)
)

// documents returns the pages for readers, with slashes.
func documents(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"}, pages...)
}

// anchors returns the fragments that a page's headings have on GitHub.
func anchors(page string) []string {
	var all []string
	for _, found := range heading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 127:
				return r
			}
			return -1
		}, strings.ToLower(strings.TrimSpace(found[1])))
		all = append(all, anchor)
	}
	return all
}

func TestDocs_LinksResolve(t *testing.T) {
	for _, page := range documents(t) {
		for _, found := range link.FindAllStringSubmatch(fence.ReplaceAllString(read(t, page), ""), -1) {
			target, err := url.Parse(found[1])
			if err != nil || target.Scheme != "" {
				continue
			}
			file := page
			if target.Path != "" {
				file = filepath.Join(filepath.Dir(page), target.Path)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s: %v", page, found[1], err)
			} else if target.Fragment != "" && !slices.Contains(anchors(read(t, file)), target.Fragment) {
				t.Errorf("%s links to %s: no such heading among %q", page, found[1], anchors(read(t, file)))
			}
		}
	}
}

// Every page below docs can be reached from the README.
func TestDocs_AreLinkedFromTheReadme(t *testing.T) {
	readme := read(t, "README.md")
	for _, page := range documents(t) {
		if strings.HasPrefix(page, "docs/") && !strings.Contains(readme, "("+page) {
			t.Errorf("README.md does not link to %s", page)
		}
	}
}

func TestDocs_ConfigurationsAreValid(t *testing.T) {
	for _, page := range documents(t) {
		for i, block := range fence.FindAllStringSubmatch(read(t, page), -1) {
			if block[1] != "hcl" {
				continue
			}
			if _, err := config.Parse([]byte(block[2]), fmt.Sprintf("%s, block %d", page, i+1)); err != nil {
				t.Errorf("%s:\n%v", page, err)
			}
		}
	}
}

// Targets of make and packages of go commands exist.
func TestDocs_CommandsExist(t *testing.T) {
	makefile := read(t, "Makefile")
	target := regexp.MustCompile("(?m)(?:^|`)make ([a-z0-9-]+)")
	for _, page := range documents(t) {
		text := read(t, page)
		for _, found := range target.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(makefile, "\n"+found[1]+":") {
				t.Errorf("%s names make %s; the Makefile has no such target", page, found[1])
			}
		}
		for _, found := range goPackage.FindAllStringSubmatch(text, -1) {
			folder := strings.TrimSuffix(strings.TrimRight(found[1], "."), "/")
			if _, err := os.Stat(filepath.FromSlash(folder)); err != nil && folder != "" {
				t.Errorf("%s runs %s: %v", page, found[0], err)
			}
		}
	}
}

// Source files that a page names exist.
func TestDocs_FilesExist(t *testing.T) {
	file := regexp.MustCompile("`((?:agent|client|cmd|deploy|proto|scripts|shipper|test|wal)/[a-z_][a-z0-9_/.]*)`")
	for _, page := range documents(t) {
		for _, found := range file.FindAllStringSubmatch(read(t, page), -1) {
			if _, err := os.Stat(strings.TrimSuffix(found[1], "/...")); err != nil {
				t.Errorf("%s names %s: %v", page, found[1], err)
			}
		}
	}
}

// The runbook of each alert exists.
func TestDocs_RunbooksOfAlertsExist(t *testing.T) {
	found := regexp.MustCompile(`runbook: (docs/[a-z]+\.md)#(\S+)`).FindAllStringSubmatch(read(t, "deploy/prometheus/rules.yml"), -1)
	if len(found) < 10 {
		t.Errorf("got %d runbooks in the alert rules, want at least 10", len(found))
	}
	for _, runbook := range found {
		if !slices.Contains(anchors(read(t, runbook[1])), runbook[2]) {
			t.Errorf("an alert names %s#%s; there is no such heading", runbook[1], runbook[2])
		}
	}
}
