package jsonscan

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

var someJSON = []string{
	``, ` `, `{}`, `{ }`, `[]`, ` [ ] `, `{"a":1}`, `{"a":1,}`, `{,}`, `[1,]`, `[,1]`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1 "b":2}`,
	`0`, `-0`, `-`, `01`, `1.`, `.5`, `1.5e`, `1.5e+`, `1.5E-10`, `1e5`, `+1`, `1 2`, `nul`, `null`, `nulll`, `true`, `false`, `tru e`,
	`"`, `""`, `"a`, `"\`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\u12aF"`, `"\ud800"`, "\"\x1f\"", "\"\x7f\xff\"", "\"\t\"", `"12345678\""`, `"1234567\\`,
	`[[[[{"a":[{}]}]]]]`, `[}`, `{]`, `]`, `[1}`, "\v1", "[1\n,\r2\t]", `{"a":1}}`, `{"é":"\/\b\f\n\r\t"}`,
	strings.Repeat("[", maxNesting) + strings.Repeat("]", maxNesting),
	strings.Repeat("[", maxNesting+1) + strings.Repeat("]", maxNesting+1),
}

func TestValid_AgreesWithEncodingJSON(t *testing.T) {
	for _, s := range someJSON {
		checkValid(t, []byte(s))
	}
}

func FuzzValid(f *testing.F) {
	for _, s := range someJSON[:len(someJSON)-2] {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkValid(t, b) })
}

func checkValid(t *testing.T, b []byte) {
	t.Helper()
	fault, got := Valid(b)
	if want := json.Valid(b); got != want {
		t.Errorf("%.80q: got %v, want %v", b, got, want)
	}
	if fault < 0 || fault > len(b) {
		t.Errorf("%.80q: fault at %d of %d", b, fault, len(b))
	}
}

func BenchmarkValid(b *testing.B) {
	var dense strings.Builder
	dense.WriteString(`{"a":[`)
	for i := range 60 {
		fmt.Fprintf(&dense, `{"n":%d,"v":"x%d"},`, i*31, i)
	}
	dense.WriteString(`1]}`)
	for name, s := range map[string]string{
		"text":  `{"sensor":"boiler-1/return","n":1,"unit":"C","text":"` + strings.Repeat("lorem ipsum ", 75) + `"}`,
		"short": `{"sensor":"boiler-1/return","n":1,"time":"2026-11-02T06:00:04.648Z","value":47.24,"unit":"C"}`,
		"dense": dense.String(),
	} {
		for how, valid := range map[string]func([]byte) bool{
			"own": func(b []byte) bool { _, ok := Valid(b); return ok }, "json.Valid": json.Valid,
		} {
			b.Run(name+"/"+how, func(b *testing.B) {
				data := []byte(s)
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					valid(data)
				}
			})
		}
	}
}
