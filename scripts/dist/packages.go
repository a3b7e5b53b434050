package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers the format
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

// packages writes a .deb and a .rpm of the program, as deploy/packages/nfpm.yaml defines them.
func (r *release) packages(p program) error {
	definition, err := os.ReadFile(filepath.Join(r.top, "deploy", "packages", "nfpm.yaml"))
	if err != nil {
		return err
	}
	values := map[string]string{"VERSION": r.version, "ARCH": p.platform.arch + p.platform.variant, "PROGRAM": p.path,
		"GENERATED": filepath.Join(r.out, programsFolder)}
	for _, format := range []string{"deb", "rpm"} {
		config, err := nfpm.ParseWithEnvMapping(bytes.NewReader(definition), func(name string) string { return values[name] })
		if err != nil {
			return err
		}
		info, err := config.Get(format)
		if err != nil {
			return err
		}
		info.MTime = r.time
		for _, c := range info.Contents {
			c.FileInfo.MTime = r.time
		}
		packager, err := nfpm.Get(format)
		if err != nil {
			return err
		}
		if err := create(r.name(p.platform.String(), "."+format), func(w io.Writer) error { return packager.Package(info, w) }); err != nil {
			return err
		}
	}
	return nil
}
