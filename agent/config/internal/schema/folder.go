package schema

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Source is a file of a configuration.
type Source struct {
	Name string // of the file
	Text []byte
}

var errEmptyFolder = errors.New("the folder has no file whose name ends with .hcl")

// ReadFiles reads the file at path, or the files *.hcl of the folder at path in the order of their names. Hidden files and
// folders are left out, but not links: a mounted ConfigMap consists of links to a hidden folder.
func ReadFiles(path string) ([]Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		text, err := os.ReadFile(path)
		return []Source{{path, text}}, err
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, err
	}
	var files []Source
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		if strings.HasPrefix(e.Name(), ".") || filepath.Ext(name) != ".hcl" {
			continue
		}
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files = append(files, Source{name, text})
	}
	if len(files) == 0 {
		return nil, &os.PathError{Op: "read", Path: path, Err: errEmptyFolder}
	}
	return files, nil
}
