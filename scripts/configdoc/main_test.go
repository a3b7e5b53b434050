package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
)

func TestReference_IsUpToDate(t *testing.T) {
	name := filepath.Join("..", "..", "docs", "configuration.md")
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != reference(config.Describe()) {
		t.Errorf("%s differs from the schema; run go generate ./agent/config", name)
	}
}

func TestReference_DescribesEverySetting(t *testing.T) {
	settings := 0
	for _, section := range config.Describe() {
		if section.Meaning == "" {
			t.Errorf("section %q has no meaning", section.Title)
		}
		for _, s := range section.Settings {
			settings++
			if s.Meaning == "" {
				t.Errorf("%s has no meaning", s.Path)
			}
			if !s.Block && (s.Type == "" || s.Allowed == "" || s.Required == (s.Default != "")) {
				t.Errorf("%s lacks a type, its allowed values, or a default: %+v", s.Path, s)
			}
		}
	}
	if settings < 100 {
		t.Errorf("got %d settings, want more than 100", settings)
	}
}
