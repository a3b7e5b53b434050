package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// shells are the shells with a completion: file names of the completions by the name of the shell.
var shells = map[string]string{"bash": "standpipe", "zsh": "_standpipe", "fish": "standpipe.fish"}

// manual writes the manual pages, compressed, to man below the folder of the programs, and a completion for each shell to the
// folder of its name. A program for the machine that builds the release generates them.
func (r *release) manual() error {
	local, err := r.compile(platform{os: runtime.GOOS, arch: runtime.GOARCH})
	if err != nil {
		return err
	}
	plain := filepath.Join(r.out, programsFolder, "man.plain")
	if out, err := exec.Command(local.path, "man", plain).CombinedOutput(); err != nil {
		return fmt.Errorf("generate the manual pages: %w: %s", err, out)
	}
	pages, err := os.ReadDir(plain)
	if err != nil {
		return err
	}
	for _, page := range pages {
		if err := compressFile(filepath.Join(plain, page.Name()), filepath.Join(r.out, programsFolder, "man", page.Name()+".gz")); err != nil {
			return err
		}
	}
	for shell, name := range shells {
		text, err := exec.Command(local.path, "completion", shell).Output()
		if err != nil {
			return fmt.Errorf("generate the completion of %s: %w", shell, err)
		}
		path := filepath.Join(r.out, programsFolder, shell, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// compressFile compresses a file as `gzip -9n` does.
func compressFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return create(to, func(w io.Writer) error {
		z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
		if err != nil {
			return err
		}
		_, err = io.Copy(z, bytes.NewReader(text))
		return errors.Join(err, z.Close())
	})
}
