// Package standpipe_test holds the rules of the whole project: the allowed imports, a doc comment for every package, the
// layout, and documentation whose links, commands and configurations work.
package standpipe_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/standpipe/standpipe/"

// layers are the folders at the top from the highest to the lowest: an import goes down or stays.
var layers = []string{"test", "cmd", "agent", "shipper", "wal", "client", "proto"}

// never lists, for a folder, the own folders and the libraries that nothing in it may import.
var never = map[string][]string{
	"agent":   {module + "client"},
	"wal":     {module + "client", module + "proto", "google.golang.org/grpc", "github.com/aws/", "github.com/hashicorp/hcl", "github.com/zclconf/"},
	"shipper": {module + "client", module + "proto", "google.golang.org/grpc", "github.com/hashicorp/hcl", "github.com/zclconf/"},
	"client":  {"github.com/aws/", "github.com/hashicorp/", "github.com/prometheus/"},
	"cmd":     {"github.com/aws/", "github.com/hashicorp/hcl", "github.com/zclconf/"},
	"proto":   {"github.com/aws/", "github.com/hashicorp/"},
}

// except lists, for a package, the imports that it may have although never forbids them to its folder. A sink needs the
// protocol of its destination.
var except = map[string][]string{
	"shipper/sink/relay": {module + "client", module + "proto", "google.golang.org/grpc"},
}

// onlyIn lists the only folders that may import a library.
var onlyIn = map[string][]string{
	"github.com/mochi-mqtt/":   {"agent/ingest/internal/mqttin", "test/mqttkit"},
	"github.com/hashicorp/hcl": {"agent/config/internal/schema"},
	"github.com/zclconf/":      {"agent/config/internal/schema"},
	"go.etcd.io/bbolt":         {"wal", "wal/deadletter", "wal/internal/boltcopy", "wal/internal/commit", "wal/internal/compact", "wal/internal/identity", "wal/internal/recent", "wal/internal/roll", "wal/internal/rowtest", "wal/internal/segfile", "wal/internal/segment", "wal/internal/small", "wal/inspect", "test/floor"},
}

// arrows are the own packages that a package may import, in folders whose packages have an order of their own.
var arrows = map[string][]string{
	"wal/internal/disk":     nil,
	"wal/internal/boltpage": {"wal/internal/disk"},
	"wal/internal/digest":   nil,
	"wal/internal/recent":   {"wal/internal/boltpage"},
	"wal/internal/small":    {"wal/internal/boltpage"},
	"wal/internal/segment":  {"wal/internal/boltpage", "wal/internal/digest", "wal/internal/disk", "wal/internal/recent", "wal/internal/small"},
	"wal/internal/reread":   {"wal/internal/segment"},
	"wal/internal/dirlock":  {"wal/internal/disk"},
	"wal/internal/identity": {"wal/internal/segment"},
	"wal/internal/bounds":   {"wal/internal/segment"},
	"wal/internal/cursor":   {"wal/internal/bounds", "wal/internal/segment"},
	"wal/internal/queue":    nil,
	"wal/internal/boltcopy": {"wal/internal/segment"},
	"wal/internal/segfile":  {"wal/internal/boltpage", "wal/internal/digest", "wal/internal/disk", "wal/internal/lastcommit", "wal/internal/recent", "wal/internal/segment", "wal/internal/small"},
	"wal/deadletter":        {"wal/internal/boltcopy", "wal/internal/boltpage", "wal/internal/disk", "wal/internal/reread", "wal/internal/segment"},
	"wal/internal/compact":  {"wal/internal/boltcopy", "wal/internal/capacity", "wal/internal/disk", "wal/internal/liveset", "wal/internal/producer", "wal/internal/segfile", "wal/internal/segment"},
	"wal/internal/roll":     {"wal/internal/capacity", "wal/internal/disk", "wal/internal/liveset", "wal/internal/queue", "wal/internal/segfile", "wal/internal/segment", "wal/internal/small"},
	"wal/internal/layout":   {"wal/internal/segment"},
	"wal/internal/liveset":  {"wal/internal/segfile", "wal/internal/segment"},
	"wal/internal/truncate": {"wal/internal/liveset", "wal/internal/queue", "wal/internal/segfile", "wal/internal/segment"},
	"wal/internal/capacity": {"wal/internal/disk", "wal/internal/liveset", "wal/internal/segfile", "wal/internal/small"},
	"wal/internal/commit": {"wal/internal/bounds", "wal/internal/capacity", "wal/internal/disk", "wal/internal/layout", "wal/internal/liveset", "wal/internal/producer", "wal/internal/receipt",
		"wal/internal/queue", "wal/internal/roll", "wal/internal/segfile", "wal/internal/segment", "wal/internal/truncate"},
	"wal/internal/reader":             {"wal/internal/cursor", "wal/internal/liveset", "wal/internal/segfile", "wal/internal/segment", "wal/timeline"},
	"wal/internal/loss":               {"wal/internal/bounds", "wal/internal/compact", "wal/internal/cursor", "wal/internal/liveset", "wal/internal/reader", "wal/internal/segment"},
	"wal/internal/rowtest":            {"wal/internal/layout", "wal/internal/liveset", "wal/internal/segfile", "wal/internal/segment"},
	"wal/internal/recovery":           {"wal/internal/disk", "wal/internal/reread", "wal/internal/segfile", "wal/internal/segment"},
	"wal/internal/lastcommit":         {"wal/internal/boltpage", "wal/internal/digest", "wal/internal/disk", "wal/internal/recent", "wal/internal/segment", "wal/internal/small"},
	"wal/internal/producer":           {"wal/internal/segment"},
	"wal/internal/receipt":            {"wal/internal/segment"},
	"wal/timeline":                    {"wal/internal/disk", "wal/internal/segment"},
	"wal/inspect":                     {"wal/internal/boltpage", "wal/internal/bounds", "wal/internal/disk", "wal/internal/lastcommit", "wal/internal/receipt", "wal/internal/recent", "wal/internal/segment", "wal/internal/small", "wal/timeline"},
	"agent/ingest/internal/budget":    nil,
	"agent/ingest/internal/h2guard":   {"agent/ingest/internal/budget"},
	"agent/ingest/internal/jsonscan":  nil,
	"agent/ingest/internal/connlimit": nil,
	"agent/ingest/internal/intake": {
		"agent/internal/access", "agent/ingest/internal/budget", "agent/ingest/internal/connlimit", "agent/ingest/internal/jsonscan", "proto/standpipe/v1", "wal", "wal/timeline",
	},
	"agent/ingest/internal/readout": {"agent/ingest/internal/intake", "agent/internal/access", "agent/internal/seek", "proto/standpipe/v1", "wal"},
	"agent/ingest/internal/otlp":    {"agent/ingest/internal/budget", "agent/ingest/internal/intake", "agent/ingest/internal/jsonscan", "wal"},
	"agent/ingest/internal/socketin": {"agent/internal/access", "agent/ingest/internal/budget", "agent/ingest/internal/connlimit", "agent/ingest/internal/intake", "agent/ingest/internal/jsonscan",
		"proto/standpipe/v1", "wal", "wal/timeline"},
	"agent/ingest/internal/httpin": {"agent/ingest/internal/budget", "agent/ingest/internal/connlimit", "agent/ingest/internal/intake", "agent/ingest/internal/jsonscan",
		"agent/ingest/internal/otlp", "proto/standpipe/v1", "wal"},
	"agent/ingest/internal/mqttin": {"agent/internal/topicmap", "agent/ingest/internal/budget", "agent/ingest/internal/connlimit", "agent/ingest/internal/intake",
		"proto/standpipe/v1", "wal"},
	"agent/internal/topicmap": nil,
	"agent/ingest/internal/grpcin": {"agent/internal/access", "agent/ingest/internal/budget", "agent/ingest/internal/h2guard", "agent/ingest/internal/intake", "agent/ingest/internal/otlp",
		"agent/ingest/internal/readout",
		"proto/standpipe/v1", "wal", "wal/timeline"},
	"shipper/limit":                    nil,
	"shipper/internal/link":            {"shipper/internal/backoff", "shipper/limit"},
	"shipper/internal/pace":            {"shipper/limit"},
	"shipper/internal/pack":            {"shipper/internal/pace", "shipper/kpl", "wal"},
	"shipper/internal/backoff":         nil,
	"shipper/internal/catchup":         {"wal"},
	"shipper/internal/sizing":          nil,
	"shipper/internal/outage":          {"shipper/internal/backoff", "wal"},
	"shipper/internal/yield":           {"shipper/limit"},
	"shipper/ranged":                   {"shipper", "shipper/internal/backoff", "shipper/internal/catchup", "shipper/internal/link", "shipper/internal/outage", "shipper/internal/yield", "wal", "wal/deadletter"},
	"shipper/ranged/rangedtest":        {"shipper", "shipper/ranged", "wal"},
	"shipper/sink/internal/dial":       nil,
	"shipper/sink/sinktest":            {"shipper"},
	"shipper/sink/s3/internal/jsonl":   {"shipper", "wal"},
	"shipper/sink/s3/internal/parquet": {"wal"},
	"shipper/sink/s3/internal/upload":  {"shipper/sink/internal/awsclient"},

	"agent/config/internal/folder":     {"agent/config/internal/pattern"},
	"agent/config/internal/odd":        {"agent/config/internal/schema"},
	"agent/config/internal/pattern":    {"agent/config/internal/schema"},
	"agent/config/internal/profile":    {"agent/config/internal/schema"},
	"agent/config/internal/rule":       {"agent/config/internal/pattern", "agent/config/internal/schema"},
	"agent/config/internal/schema":     nil,
	"agent/internal/access":            {"shipper/limit"},
	"agent/internal/access/accesstest": {"agent/internal/access"},
	"agent/internal/descriptors":       {"agent/config", "agent/internal/destination"},
	"agent/internal/diskwatch":         {"agent/config", "wal"},
	"agent/internal/wear":              {"agent/config"},
	"agent/internal/linkwatch":         nil,
	"agent/internal/livetail":          {"wal"},
	"agent/internal/clock":             {"wal/timeline"},
	"agent/internal/uplink":            {"agent/internal/linkwatch", "shipper", "shipper/sink"},
	"agent/internal/deadletters":       {"agent/admin", "agent/ingest", "wal", "wal/deadletter"},
	"agent/internal/monitor":           {"agent/admin", "agent/internal/condition", "wal"},
	"shipper/internal/sourcetest":      {"wal", "wal/deadletter"},
	"cmd/standpipe/internal/cli":       {"agent/admin", "agent/config", "client"},
	"cmd/standpipe/internal/walcmd":    {"cmd/standpipe/internal/cli", "wal", "wal/inspect"},
	"cmd/standpipe/internal/deadcmd":   {"cmd/standpipe/internal/cli", "agent/admin"},
	"cmd/standpipe/internal/tapcmd":    {"cmd/standpipe/internal/cli", "client"},
	"cmd/standpipe/internal/topcmd":    {"cmd/standpipe/internal/cli", "agent/admin"},
	"cmd/standpipe/internal/putcmd":    {"cmd/standpipe/internal/cli", "client", "proto/standpipe/v1"},

	"cmd/standpipe/internal/provisioncmd": {"cmd/standpipe/internal/cli", "agent", "agent/config", "agent/provision"},
}

func TestImportsFollowTheArrows(t *testing.T) {
	for name, file := range sources(t, parser.ImportsOnly) {
		for _, spec := range file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if fault := importFault(path.Dir(name), imported); fault != "" {
				t.Errorf("%s imports %s: %s", name, imported, fault)
			}
		}
	}
}

func importFault(folder, imported string) string {
	top, _, _ := strings.Cut(folder, "/")
	for _, prefix := range never[top] {
		if strings.HasPrefix(imported, prefix) && !slices.Contains(except[folder], prefix) {
			return top + " may know nothing of it"
		}
	}
	for prefix, folders := range onlyIn {
		if strings.HasPrefix(imported, prefix) && !slices.Contains(folders, folder) {
			return "only " + strings.Join(folders, " and ") + " may"
		}
	}
	if own, ok := strings.CutPrefix(imported, module); ok {
		to, _, _ := strings.Cut(own, "/")
		if slices.Index(layers, to) < slices.Index(layers, top) {
			return "the arrow points from " + to + " to " + top
		}
		if may, ordered := arrows[folder]; ordered && !slices.Contains(may, own) {
			return folder + " may import only " + strings.Join(may, " and ")
		}
	}
	return ""
}

func TestImportRulesFindFaults(t *testing.T) {
	for _, test := range []struct {
		folder, imported string
		want             bool
	}{
		{"wal", "go.etcd.io/bbolt", false}, {"wal", module + "shipper", true}, {"wal", "google.golang.org/grpc/codes", true},
		{"shipper/sink/relay", module + "client", false}, {"shipper/sink/kafka", module + "client", true}, {"shipper/sink/relay", "github.com/zclconf/go-cty", true},
		{"shipper/sink", "github.com/aws/smithy-go", false}, {"shipper/sink", module + "agent", true}, {"shipper", "go.etcd.io/bbolt", true},
		{"shipper/limit", "time", false}, {"shipper/internal/link", module + "shipper/limit", false}, {"shipper/internal/link", module + "wal", true},
		{"agent/config/internal/schema", "github.com/hashicorp/hcl/v2", false}, {"agent/config", "github.com/hashicorp/hcl/v2", true}, {"agent/ingest", "github.com/hashicorp/hcl/v2", true},
		{"wal/internal/boltpage", module + "wal/internal/disk", false}, {"wal/internal/boltpage", module + "wal", true}, {"wal/internal/boltpage", "go.etcd.io/bbolt", true},
		{"wal/internal/segment", module + "wal/internal/boltpage", false}, {"wal/internal/segment", module + "wal", true}, {"wal/internal/boltpage", module + "wal/internal/segment", true},
		{"wal/internal/segfile", module + "wal/internal/segment", false}, {"wal/internal/segfile", module + "wal", true}, {"wal/internal/segment", module + "wal/internal/segfile", true},
		{"wal", module + "wal/deadletter", false}, {"wal/deadletter", module + "wal", true}, {"wal/deadletter", module + "wal/internal/segment", false},
		{"agent/ingest", module + "wal", false}, {"agent", module + "cmd/standpipe", true}, {"proto", module + "wal", true},
		{"wal", module + "test/testkit", true}, {"client", module + "proto/standpipe/v1", false}, {"client", module + "wal", true}, {"agent", module + "client", true},
		{"test/fakeaws", module + "shipper/sink", false}, {"shipper/sink", module + "test/fakeaws", true}, {"cmd/standpipe", module + "test/fakeaws", true},
	} {
		if got := importFault(test.folder, test.imported); (got != "") != test.want {
			t.Errorf("%s imports %s: got %q, want a fault: %v", test.folder, test.imported, got, test.want)
		}
	}
}

func TestEveryPackageSaysWhatItPromises(t *testing.T) {
	docs := make(map[string]string)
	for name, file := range sources(t, parser.ParseComments|parser.PackageClauseOnly) {
		folder := path.Dir(name)
		if _, known := docs[folder]; !known {
			docs[folder] = ""
		}
		if file.Doc != nil && !generated(file) {
			docs[folder] += file.Doc.Text()
		}
	}
	for folder, doc := range docs {
		if folder == "proto/standpipe/v1" { // generated; documented by proto/doc.go
			continue
		}
		if len(doc) < 80 {
			t.Errorf("package %s has a doc comment of %d bytes; it should say what it promises", folder, len(doc))
		}
	}
}

// The bounds of one package and of one type, without tests and generated code.
const (
	mostLines   = 3000
	mostMethods = 40
)

func TestPackagesAndTypesAreSmall(t *testing.T) {
	lines, methods := make(map[string]int), make(map[string]int)
	for name, file := range sources(t, parser.ParseComments|parser.SkipObjectResolution) {
		if generated(file) {
			continue
		}
		folder := path.Dir(name)
		lines[folder] += strings.Count(read(t, name), "\n")
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil {
				methods[folder+"."+receiver(f)]++
			}
		}
	}
	for folder, n := range lines {
		if n > mostLines {
			t.Errorf("package %s has %d lines, want at most %d: a part of it with a job of its own is a package", folder, n, mostLines)
		}
	}
	for name, n := range methods {
		if n > mostMethods {
			t.Errorf("type %s has %d methods, want at most %d", name, n, mostMethods)
		}
	}
}

// receiver returns the name of the type of a method.
func receiver(f *ast.FuncDecl) string {
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	switch generic := of.(type) {
	case *ast.IndexExpr:
		of = generic.X
	case *ast.IndexListExpr:
		of = generic.X
	}
	return of.(*ast.Ident).Name
}

func generated(file *ast.File) bool { return ast.IsGenerated(file) }

// Words that describe no job.
var emptyWords = regexp.MustCompile(`(?i)(^|_)(manager|handler|processor|helpers?|utils?|common|core|engine|item|message|payload|types|misc|impl)s?(_|\.|$)`)

func TestFilesAreNamedForTheirJob(t *testing.T) {
	walk(t, func(name string) {
		if word := emptyWords.FindString(path.Base(name)); word != "" && strings.HasSuffix(name, ".go") {
			t.Errorf("%s: %q says nothing of the file's job", name, word)
		}
	})
}

func TestTopLevelHoldsNothingElse(t *testing.T) {
	known := []string{"agent", "client", "cmd", "deploy", "docs", "proto", "scripts", "shipper", "test", "testdata", "wal", "bin", "dist", "standpipe-dev", "go.mod", "go.sum", "Makefile",
		"agent.hcl.example", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "rules_test.go", "docs_test.go"}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(known, e.Name()) {
			t.Errorf("%s at the top: it belongs into one of the folders", e.Name())
		}
	}
}

// The set-up on a fresh machine is two commands of the README. A test in test/e2e runs the script of the first one.
func TestReadmeCommandsExist(t *testing.T) {
	readme := read(t, "README.md")
	for _, command := range []string{"make demo", "make test"} {
		if !strings.Contains(readme, "\n"+command+"\n") && !strings.Contains(readme, "\n"+command+" ") {
			t.Errorf("README.md has no line %q", command)
		}
	}
	if run := read(t, ".ci/run"); !strings.Contains(run, "\nmake standins\nmake test\n") {
		t.Error(".ci/run does not install the stand-ins and run the README's test command")
	}
}

// Every destination runs the conformance suite of its kind: sinktest for batches, rangedtest for ranges. A destination with
// both ways of delivery runs both.
func TestEverySinkRunsItsConformanceSuite(t *testing.T) {
	suites := make(map[string]string) // the text of a folder's tests
	walk(t, func(name string) {
		if strings.HasSuffix(name, "_test.go") {
			suites[path.Dir(name)] += read(t, name)
		}
	})
	found := 0
	for name, file := range sources(t, 0) {
		folder := path.Dir(name)
		if path.Dir(folder) != "shipper/sink" || folder == "shipper/sink/discard" || strings.HasSuffix(folder, "test") {
			continue
		}
		for method, call := range map[string]string{"Send": "sinktest.Run(", "Commit": "rangedtest.Run("} {
			if !hasMethod(file, method) {
				continue
			}
			if found++; !strings.Contains(suites[folder], call) {
				t.Errorf("%s has a sink with the method %s, and its tests do not call %s", folder, method, call)
			}
		}
	}
	if found < 9 {
		t.Errorf("found %d sinks", found)
	}
}

// hasMethod reports whether a file declares a method of an exported type.
func hasMethod(file *ast.File, name string) bool {
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv == nil || f.Name.Name != name {
			continue
		}
		if of, ok := f.Recv.List[0].Type.(*ast.StarExpr); ok {
			if id, ok := of.X.(*ast.Ident); ok && id.IsExported() {
				return true
			}
		}
	}
	return false
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sources parses every Go file that goes into the program.
func sources(t *testing.T, mode parser.Mode) map[string]*ast.File {
	t.Helper()
	files := make(map[string]*ast.File)
	fset := token.NewFileSet()
	walk(t, func(name string) {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return
		}
		file, err := parser.ParseFile(fset, name, nil, mode)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = file
	})
	if len(files) == 0 {
		t.Fatal("no source files were found")
	}
	return files
}

// walk calls visit with every file of the module but those of hidden folders and testdata.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !d.IsDir() {
			visit(filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
