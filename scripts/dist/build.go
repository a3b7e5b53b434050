package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// platform is an operating system and a processor; variant is that of ARM, else empty.
type platform struct{ os, arch, variant string }

func parsePlatform(s string) (p platform, err error) {
	parts := strings.Split(s, "/")
	switch {
	case len(parts) == 2 && parts[1] != "arm":
		return platform{os: parts[0], arch: parts[1]}, nil
	case len(parts) == 3 && parts[1] == "arm":
		return platform{os: parts[0], arch: parts[1], variant: parts[2]}, nil
	}
	return p, fmt.Errorf("invalid platform %q: must be OS/ARCH, or OS/arm/VARIANT", s)
}

// String returns the platform as in file names: linux_armv7.
func (p platform) String() string {
	if p.variant != "" {
		return p.os + "_" + p.arch + "v" + p.variant
	}
	return p.os + "_" + p.arch
}

// program is the built program of a platform.
type program struct {
	platform platform
	path     string
}

// build writes the files of one platform and returns its program, which is in a folder that sums removes.
func (r *release) build(p platform) (program, error) {
	built, err := r.compile(p)
	if err != nil {
		return built, err
	}
	if err := errors.Join(r.archive(built), r.sbom(built)); err != nil {
		return built, err
	}
	if p.os == "linux" {
		return built, r.packages(built)
	}
	return built, nil
}

const versionVariable = "github.com/standpipe/standpipe/agent/admin.Version"

// programsFolder holds the programs below the folder of the release while the other files are built.
const programsFolder = "programs"

func (r *release) compile(p platform) (program, error) {
	built := program{platform: p, path: filepath.Join(r.out, programsFolder, p.String(), "standpipe")}
	if p.os == "windows" {
		built.path += ".exe"
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=auto", "-ldflags", "-s -w -buildid= -X "+versionVariable+"="+r.version,
		"-o", built.path, "./cmd/standpipe")
	cmd.Dir = r.top
	// GOWORK and GOFLAGS of the caller would change the build.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch, "GOARM="+p.variant, "GOAMD64=v1", "GOFLAGS=", "GOWORK=off")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return built, fmt.Errorf("go build: %w", err)
	}
	return built, nil
}
