// Command dist builds the files of a release into a folder:
//
//	go run . [-out DIR] [-version V] [-platforms "linux/amd64 linux/arm/7"]
//
// For each platform it writes an archive and an SBOM in CycloneDX's format; for Linux also a .deb and a .rpm as
// deploy/packages/nfpm.yaml defines them, and an image in OCI's layout, one for all its platforms. SHA256SUMS has the sums of
// all files. The programs are static and stripped.
//
// The files depend on the checkout, the version, the Go release and SOURCE_DATE_EPOCH alone, which is by default the
// time of the last commit: two builds are equal in every byte.
//
// This is a module of its own, so that the libraries for packages and images are no dependencies of the program.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// allPlatforms are the platforms of a release.
const allPlatforms = "linux/amd64 linux/arm64 linux/arm/6 linux/arm/7 darwin/arm64 darwin/amd64 windows/amd64"

// release is the build of all files.
type release struct {
	top     string // of the checkout
	out     string
	version string
	time    time.Time // of every file in archives, packages and images
}

func main() {
	out := flag.String("out", "dist", "the folder for the files, relative to the top of the checkout")
	version := flag.String("version", "", "the version; by default that of the source")
	platforms := flag.String("platforms", allPlatforms, "the platforms, as OS/ARCH or OS/ARCH/VARIANT")
	flag.Parse()
	if err := run(*out, *version, strings.Fields(*platforms)); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(out, version string, names []string) error {
	r, err := newRelease(out, version)
	if err != nil {
		return err
	}
	if err := r.manual(); err != nil {
		return err
	}
	var programs []program
	for _, name := range names {
		p, err := parsePlatform(name)
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "dist:", name)
		built, err := r.build(p)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		programs = append(programs, built)
	}
	if err := r.image(programs); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	return r.sums()
}

// newRelease empties the folder for the files, and changes to the top of the checkout.
func newRelease(out, version string) (*release, error) {
	text, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return nil, fmt.Errorf("find the top of the checkout: %w", err)
	}
	r := &release{top: strings.TrimSpace(string(text)), version: version}
	if r.out = out; !filepath.IsAbs(out) {
		r.out = filepath.Join(r.top, out)
	}
	if r.version == "" {
		if r.version, err = r.sourceVersion(); err != nil {
			return nil, err
		}
	}
	if r.time, err = r.sourceTime(); err != nil {
		return nil, err
	}
	return r, errors.Join(os.Chdir(r.top), os.RemoveAll(r.out), os.MkdirAll(r.out, 0o755))
}

var versionLine = regexp.MustCompile(`(?m)^var Version = "(.+)"$`)

func (r *release) sourceVersion() (string, error) {
	const file = "agent/admin/version.go"
	text, err := os.ReadFile(filepath.Join(r.top, file))
	if err != nil {
		return "", err
	}
	found := versionLine.FindSubmatch(text)
	if found == nil {
		return "", fmt.Errorf("%s has no line that matches %s", file, versionLine)
	}
	return string(found[1]), nil
}

// sourceTime returns SOURCE_DATE_EPOCH or the time of the last commit.
func (r *release) sourceTime() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		out, err := exec.Command("git", "-C", r.top, "log", "-1", "--format=%ct").Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("read the time of the last commit: %w", err)
		}
		text = strings.TrimSpace(string(out))
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(n, 0).UTC(), nil
}

// name returns the path of a file of the release, such as standpipe_0.1.0_linux_armv7.deb.
func (r *release) name(platform, extension string) string {
	return filepath.Join(r.out, "standpipe_"+r.version+"_"+platform+extension)
}
