package session

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/compute/cpu"
	"lathe/model"
)

// A run's adapter, live or of a checkpoint, is exported alone and merged; what cannot be is refused at once.
func TestExport(t *testing.T) {
	s, err := Open(Options{Dir: t.TempDir(), Device: "cpu", OpenDevice: func(string) (compute.Device, error) { return cpu.New(cpu.Options{}) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := markedRun(t)
	c.MaxSteps = 4 // before the row that a marked device would stumble over
	if err := s.Do(Start{Config: c}); err != nil {
		t.Fatal(err)
	}
	v := wait(t, s, "the run's end", func(v View) bool { return v.Run.Done != nil })
	for format, version := range map[string]string{"peft": v.Run.Saved[0].Path, "merged": VersionLive} {
		out := filepath.Join(t.TempDir(), format)
		if err := s.Do(Export{Version: version, Format: format, Out: out}); err != nil {
			t.Fatal(err)
		}
		before := len(v.Exports)
		v = wait(t, s, "the export", func(v View) bool { return len(v.Exports) > before || strings.Contains(logText(v), "export:") })
		card, err := os.ReadFile(filepath.Join(out, "README.md"))
		if err != nil || !strings.Contains(string(card), "## Training") || !strings.Contains(string(card), "rows.jsonl") {
			t.Errorf("%s: %v, %s", format, err, card)
		}
		if text := logText(v); len(v.Exports) == before || !strings.Contains(text, "logits differ by") {
			t.Errorf("%s: %s", format, text)
		}
		if format == "merged" {
			files, err := model.Open(out)
			if err != nil {
				t.Fatal(err)
			}
			files.Close()
		}
		if err := s.Do(Export{Version: version, Format: format, Out: out}); err == nil || !strings.Contains(err.Error(), "not empty") {
			t.Errorf("%s over itself: %v", format, err)
		}
	}
	for word, c := range map[string]Export{
		"unknown format": {Version: VersionLive, Format: "gguf", Out: filepath.Join(t.TempDir(), "x")},
		"has no adapter": {Version: VersionBase, Format: "peft", Out: filepath.Join(t.TempDir(), "x")},
		"lies in":        {Version: VersionLive, Format: "peft", Out: filepath.Join(c.ModelNameOrPath, "x")},
	} {
		if err := s.Do(c); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%+v: %v, want %q", c, err, word)
		}
	}
}

// logText is the log as one text.
func logText(v View) string {
	var text strings.Builder
	for _, line := range v.Log {
		text.WriteString(line.Text + "\n")
	}
	return text.String()
}
