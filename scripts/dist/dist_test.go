package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	oldVersion = "0.7.0"
	newVersion = "0.8.0-rc.1"
)

var workFolder string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "dist")
	// The tests run at the top of the checkout.
	if err = errors.Join(err, os.Chdir("../..")); err != nil {
		panic(err)
	}
	workFolder = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// missing records a test that needs a tool which `make standins` installs. It fails the test if STANDPIPE_TEST_COMPLETE is set.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("STANDPIPE_TEST_COMPLETE") != "" {
		t.Fatalf("missing: %s (`make standins` installs it)", what)
	}
	why := what + " is missing (`make standins` installs it)"
	record(t, why)
	t.Skip("NOT TESTED: " + why)
}

// record adds a line to the list of tests that cannot run here.
func record(t *testing.T, why string) {
	t.Helper()
	if path := os.Getenv("STANDPIPE_NOT_TESTED"); path != "" {
		if f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err == nil {
			fmt.Fprintf(f, "%s: %s\n", t.Name(), why)
			f.Close()
		}
	}
}

// tools ends the test without one of the programs.
func tools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing(t, name)
		}
	}
}

// built returns a folder with the files of a version for the machine that runs the test. Each version is built once.
func built(t *testing.T, version string) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("packages and images are for Linux")
	}
	once, _ := releases.LoadOrStore(version, sync.OnceValues(func() (string, error) {
		out := filepath.Join(workFolder, version)
		platform := "linux/" + runtime.GOARCH
		return out, run(out, version, []string{platform})
	}))
	out, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var releases sync.Map

// file returns the path of a file of the release in the folder.
func file(folder, extension string) string {
	return filepath.Join(folder, "standpipe_"+filepath.Base(folder)+"_linux_"+runtime.GOARCH+extension)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// output runs a program and returns its output.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// unpack writes a tar archive below a folder.
func unpack(t *testing.T, r io.Reader, to string) {
	t.Helper()
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		name := filepath.Join(to, filepath.FromSlash(path.Clean("/"+h.Name)))
		if h.Typeflag == tar.TypeDir {
			must(t, os.MkdirAll(name, 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, os.FileMode(h.Mode))
		must(t, err)
		_, err = io.Copy(f, archive)
		must(t, errors.Join(err, f.Close()))
	}
}

// unpackArchive unpacks the archive of the machine that runs the test, and returns its only folder.
func unpackArchive(t *testing.T, folder string) string {
	t.Helper()
	f, err := os.Open(file(folder, ".tar.gz"))
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	dir := t.TempDir()
	unpack(t, z, dir)
	return filepath.Join(dir, strings.TrimSuffix(filepath.Base(f.Name()), ".tar.gz"))
}

func TestArchive_HasAStaticProgramOfTheVersion(t *testing.T) {
	dir := unpackArchive(t, built(t, newVersion))
	program := filepath.Join(dir, "standpipe")
	want := "standpipe " + newVersion + " (commit "
	// Go reads the commit of a clone, not of a further worktree of git.
	if info, err := os.Stat(".git"); err == nil && info.IsDir() {
		want += strings.TrimSpace(output(t, "git", "rev-parse", "HEAD"))[:7]
	}
	if got := output(t, program, "version"); !strings.HasPrefix(got, want) {
		t.Errorf("got the version %q, want it to begin with %q", got, want)
	}
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md", "agent.hcl.example", "docs/operating.md", "deploy/systemd/standpipe.service"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	f, err := elf.Open(program)
	must(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program needs a dynamic linker")
		}
	}
	if f.Section(".symtab") != nil || f.Section(".debug_info") != nil || f.Section(".zdebug_info") != nil {
		t.Error("the program has symbols")
	}
	data, err := os.ReadFile(program)
	must(t, err)
	top, err := os.Getwd()
	must(t, err)
	if strings.Contains(string(data), top+"/") {
		t.Errorf("the program contains the path %s of the build", top)
	}
}

// TestRelease_IsEqualInEveryByte builds one version again.
func TestRelease_IsEqualInEveryByte(t *testing.T) {
	first := built(t, newVersion)
	second := filepath.Join(t.TempDir(), newVersion)
	must(t, run(second, newVersion, []string{"linux/" + runtime.GOARCH}))
	want, err := os.ReadFile(filepath.Join(first, "SHA256SUMS"))
	must(t, err)
	got, err := os.ReadFile(filepath.Join(second, "SHA256SUMS"))
	must(t, err)
	if string(got) != string(want) {
		t.Errorf("got the sums\n%swant\n%s", got, want)
	}
}

func TestSums_AreOfAllFiles(t *testing.T) {
	folder := built(t, newVersion)
	text, err := os.ReadFile(filepath.Join(folder, "SHA256SUMS"))
	must(t, err)
	sums := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		sums[name] = sum
	}
	entries, err := os.ReadDir(folder)
	must(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(folder, e.Name()))
		must(t, err)
		if got := fmt.Sprintf("%x", sha256.Sum256(data)); e.Name() != "SHA256SUMS" && sums[e.Name()] != got {
			t.Errorf("%s: SHA256SUMS has %q, want %s", e.Name(), sums[e.Name()], got)
		}
	}
	if got, want := len(sums), len(entries)-1; got != want || got != 5 {
		t.Errorf("got %d sums, want %d, for archive, .deb, .rpm, image and SBOM", got, want)
	}
}

// The SBOM lists the modules that `go version -m` shows for the program.
func TestSBOM_ListsEveryModule(t *testing.T) {
	folder := built(t, newVersion)
	var bom struct {
		BOMFormat  string
		Components []struct{ Name, Version, Purl string }
	}
	text, err := os.ReadFile(file(folder, ".cdx.json"))
	must(t, err)
	must(t, json.Unmarshal(text, &bom))
	got := make(map[string]string)
	for _, c := range bom.Components {
		got[c.Name] = c.Version
	}
	delete(got, "std")
	want := make(map[string]string)
	for line := range strings.Lines(output(t, "go", "version", "-m", filepath.Join(unpackArchive(t, folder), "standpipe"))) {
		if f := strings.Fields(line); len(f) >= 3 && f[0] == "dep" {
			want[f[1]] = f[2]
		}
	}
	if len(want) < 20 || !maps.Equal(got, want) || bom.BOMFormat != "CycloneDX" {
		t.Errorf("got %s with %v, want %v", bom.BOMFormat, got, want)
	}
}

func TestZip_HasTheFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.zip")
	must(t, create(name, func(w io.Writer) error {
		return writeZip(w, []member{{name: "d/", mode: 0o755}, {name: "d/standpipe.exe", mode: 0o755, data: []byte("x")}}, time.Unix(1, 0))
	}))
	z, err := zip.OpenReader(name)
	must(t, err)
	defer z.Close()
	if len(z.File) != 2 || z.File[1].Name != "d/standpipe.exe" || z.File[1].UncompressedSize64 != 1 || !z.File[0].Mode().IsDir() {
		t.Errorf("got %+v", z.File)
	}
}

func TestPlatform_Names(t *testing.T) {
	for text, want := range map[string]string{"linux/amd64": "linux_amd64", "linux/arm/6": "linux_armv6", "windows/amd64": "windows_amd64"} {
		if p, err := parsePlatform(text); err != nil || p.String() != want {
			t.Errorf("%s: got %q, %v, want %q", text, p, err, want)
		}
	}
	for _, text := range []string{"", "linux", "linux/arm", "linux/amd64/1", "a/b/c/d"} {
		if p, err := parsePlatform(text); err == nil {
			t.Errorf("%q: got %q, want an error", text, p)
		}
	}
	names := strings.Fields(allPlatforms)
	for _, want := range []string{"linux/amd64", "linux/arm64", "linux/arm/6", "linux/arm/7", "darwin/arm64", "windows/amd64"} {
		if !slices.Contains(names, want) {
			t.Errorf("a release lacks %s", want)
		}
	}
}
