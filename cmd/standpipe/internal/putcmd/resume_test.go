package putcmd_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
)

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A run that stopped in the middle goes on: no line is stored twice, and none is left out, wherever it stopped, also if the
// state file is older than the last response.
func TestResume_StoresEachLineOnce(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 3 {
		p := startPutTarget(t, 16<<20)
		file := filepath.Join(t.TempDir(), "events")
		var lines, want []string
		for i := range 500 + r.IntN(1500) {
			if r.IntN(10) == 0 {
				lines = append(lines, "")
				continue
			}
			line := fmt.Sprintf(`{"n":%d,"x":%q}`, i, strings.Repeat("x", r.IntN(50)))
			lines, want = append(lines, line), append(want, "json "+line)
		}
		bad := r.IntN(len(lines))
		good := lines[bad]
		lines[bad] = "no JSON"
		for range r.IntN(4) {
			lines = append(lines, "") // the state is that of the last event
		}
		write(t, file, strings.Join(lines, "\n"))
		if _, err := p.put(t, nil, "--resume", "json", file); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("line %d:", bad+1)) {
			t.Fatalf("got %v, want line %d to be rejected", err, bad+1)
		}
		if r.IntN(2) == 0 { // the responses to the last lines were lost
			state := make(map[string]any)
			text, err := os.ReadFile(file + ".put-state")
			if err != nil || json.Unmarshal(text, &state) != nil {
				t.Fatal(err, string(text))
			}
			state["lines"] = 0
			text, _ = json.Marshal(state)
			write(t, file+".put-state", string(text))
		}
		lines[bad] = good
		if good == "" {
			lines[bad] = " "
		}
		write(t, file, strings.Join(lines, "\n"))
		if _, err := p.put(t, nil, "--resume", "json", file); err != nil {
			t.Fatal(err)
		}
		if got := p.events(t, "json"); !slices.Equal(got, want) {
			t.Fatalf("line %d of %d was rejected: got %d events, want %d", bad+1, len(lines), len(got), len(want))
		}

		// Lines that follow later are stored by the same command.
		write(t, file, strings.Join(lines, "\n")+"\n{}\n")
		if out, err := p.put(t, nil, "--resume", "json", file); err != nil || out != "stored 1 event\n" && lines[len(lines)-1] != "" {
			t.Errorf("got %q, %v for one more line", out, err)
		}
	}
}

func TestResume_RejectsAnotherFile(t *testing.T) {
	p := startPutTarget(t, 16<<20)
	file := filepath.Join(t.TempDir(), "events")
	write(t, file, "a\nb\nc\n")
	if _, err := p.put(t, nil, "--resume", "text", file); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a\nx\nc\nd\n", "a\nb\n", "x\n"} {
		write(t, file, text)
		if _, err := p.put(t, nil, "--resume", "text", file); err == nil || !strings.Contains(err.Error(), "remove the state file") {
			t.Errorf("%q: got %v, want an error", text, err)
		}
	}
	if _, err := p.put(t, nil, "--resume", "json", file); err == nil || !strings.Contains(err.Error(), `of stream "text"`) {
		t.Errorf("got %v for another stream", err)
	}
	if _, err := p.put(t, strings.NewReader("a\n"), "--resume", "text"); err == nil || !strings.Contains(err.Error(), "needs a FILE") {
		t.Errorf("got %v for standard input", err)
	}
	p.expect(t, "text", "text a", "text b", "text c")
}
