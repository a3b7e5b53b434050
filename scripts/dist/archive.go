package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A member is a file or a folder of an archive or of a layer.
type member struct {
	name string // with slashes; a folder ends in one
	mode int64
	uid  int
	data []byte
}

// documents are the files beside the program in an archive, relative to the checkout.
var documents = []string{"LICENSE", "README.md", "CHANGELOG.md", "agent.hcl.example", "docs/*.md"}

// archive writes the program and the documents: as .zip for Windows, else as .tar.gz.
func (r *release) archive(p program) (err error) {
	folder := "standpipe_" + r.version + "_" + p.platform.String() + "/"
	members := []member{{name: folder, mode: 0o755}}
	add := func(path, name string, mode int64) {
		data, readErr := os.ReadFile(path)
		err = errors.Join(err, readErr)
		members = append(members, member{name: folder + name, mode: mode, data: data})
	}
	add(p.path, filepath.Base(p.path), 0o755)
	patterns := documents
	if p.platform.os == "linux" {
		patterns = append([]string{"deploy/systemd/standpipe.service"}, patterns...)
	}
	for _, pattern := range patterns {
		files, globErr := filepath.Glob(filepath.Join(r.top, pattern))
		err = errors.Join(err, globErr)
		for _, path := range files { // sorted
			add(path, strings.TrimPrefix(filepath.ToSlash(path), filepath.ToSlash(r.top)+"/"), 0o644)
		}
	}
	if err != nil {
		return err
	}
	if p.platform.os == "windows" {
		return create(r.name(p.platform.String(), ".zip"), func(w io.Writer) error { return writeZip(w, members, r.time) })
	}
	return create(r.name(p.platform.String(), ".tar.gz"), func(w io.Writer) error {
		z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
		return errors.Join(err, writeTar(z, members, r.time), z.Close())
	})
}

// create writes a file with f.
func create(path string, f func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(f(file), file.Close())
}

func writeTar(w io.Writer, members []member, at time.Time) error {
	t := tar.NewWriter(w)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Mode: m.mode, Uid: m.uid, Gid: m.uid, Size: int64(len(m.data)), ModTime: at, Typeflag: tar.TypeReg}
		if strings.HasSuffix(m.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(m.data); err != nil {
			return err
		}
	}
	return t.Close()
}

func writeZip(w io.Writer, members []member, at time.Time) error {
	z := zip.NewWriter(w)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate, Modified: at}
		h.SetMode(os.FileMode(m.mode))
		if strings.HasSuffix(m.name, "/") {
			h.SetMode(os.FileMode(m.mode) | os.ModeDir)
		}
		f, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := f.Write(m.data); err != nil {
			return err
		}
	}
	return z.Close()
}
