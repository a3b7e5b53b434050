package main

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// imageUser is the user of the image's process, and of its folders. No user of a host has this number.
const imageUser = 65532

// image writes one image for all programs for Linux, as a tar archive of OCI's layout.
func (r *release) image(programs []program) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	n := 0
	for _, p := range programs {
		if p.platform.os != "linux" {
			continue
		}
		image, err := r.imageOf(p)
		if err != nil {
			return err
		}
		at := v1.Platform{OS: p.platform.os, Architecture: p.platform.arch}
		if p.platform.variant != "" {
			at.Variant = "v" + p.platform.variant
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &at}})
		n++
	}
	if n == 0 {
		return nil
	}
	folder := filepath.Join(r.out, programsFolder, "image")
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	name := map[string]string{"org.opencontainers.image.ref.name": r.version}
	if err := path.AppendIndex(index, layout.WithAnnotations(name)); err != nil {
		return err
	}
	return r.tarFolder(folder, filepath.Join(r.out, "standpipe_"+r.version+"_image.tar"))
}

// imageOf returns the image of one platform: the program, the roots of public certificates, and two folders for the user.
func (r *release) imageOf(p program) (v1.Image, error) {
	data, err := os.ReadFile(p.path)
	if err != nil {
		return nil, err
	}
	layer, err := r.layer([]member{
		{name: "etc/", mode: 0o755},
		{name: "etc/group", mode: 0o644, data: []byte("standpipe:x:65532:\n")},
		{name: "etc/passwd", mode: 0o644, data: []byte("standpipe:x:65532:65532::/var/lib/standpipe:/sbin/nologin\n")},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, data: publicRoots()},
		{name: "etc/standpipe/", mode: 0o755},
		{name: "run/", mode: 0o755},
		{name: "run/standpipe/", mode: 0o755, uid: imageUser},
		{name: "usr/", mode: 0o755},
		{name: "usr/bin/", mode: 0o755},
		{name: "usr/bin/standpipe", mode: 0o755, data: data},
		{name: "var/", mode: 0o755},
		{name: "var/lib/", mode: 0o755},
		{name: "var/lib/standpipe/", mode: 0o700, uid: imageUser},
	})
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: r.time}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(base, mutate.Addendum{Layer: layer, History: v1.History{Created: created, CreatedBy: "scripts/dist"}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = p.platform.os, p.platform.arch, created
	if p.platform.variant != "" {
		config.Variant = "v" + p.platform.variant
	}
	config.Config = v1.Config{
		User:       "65532:65532",
		Entrypoint: []string{"/usr/bin/standpipe"},
		Cmd:        []string{"agent", "--config", "/etc/standpipe/agent.hcl"},
		Env:        []string{"PATH=/usr/bin"},
		WorkingDir: "/var/lib/standpipe",
		Volumes:    map[string]struct{}{"/var/lib/standpipe": {}},
		StopSignal: "SIGTERM",
		Labels: map[string]string{
			"org.opencontainers.image.title":    "standpipe",
			"org.opencontainers.image.version":  r.version,
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	return mutate.ConfigFile(image, config)
}

func (r *release) layer(members []member) (v1.Layer, error) {
	var content bytes.Buffer
	if err := writeTar(&content, members, r.time); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(9), tarball.WithCompressedCaching)
}

// publicRoots returns the roots that Mozilla trusts without a constraint, as PEM.
func publicRoots() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
		}
	}
	return out.Bytes()
}

// tarFolder writes the files of a folder as a tar archive, in the order of their names.
func (r *release) tarFolder(folder, to string) error {
	var members []member
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if d.IsDir() {
			members = append(members, member{name: name + "/", mode: 0o755})
			return nil
		}
		data, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(name)))
		members = append(members, member{name: name, mode: 0o644, data: data})
		return err
	})
	return errors.Join(err, create(to, func(w io.Writer) error { return writeTar(w, members, r.time) }))
}
