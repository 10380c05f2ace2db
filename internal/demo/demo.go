// Package demo is the whole job on the built-in model and data: check, train with a pause and a resume, ask in between,
// evaluate, compare two epochs, export. It drives an ordinary session by ordinary commands on ordinary files, so whoever
// watches may act at any time, and whoever reads run.yaml afterwards can go on from there.
package demo

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"lathe/evalsuite"
	"lathe/session"
)

// assets are written by tools/demomodel: a model of 4 MB at most, its training record, and the fine-tuning data.
//
//go:embed assets
var assets embed.FS

// Question is what the demo asks before, during and after.
const Question = "Explain our company refund policy."

// FormatKPI is the shape that the fine-tuning data teach: greeting, policy, next step.
const FormatKPI = `^Hello[^\n]*\nOur policy: [^\n]+\nNext step: [^\n]+$`

// Files are the demo's files in a folder.
type Files struct {
	Dir       string
	Config    string // run.yaml
	HeldOut   string
	OutputDir string
	Export    string
}

// Write puts the built-in model, data and run.yaml into a folder. What an earlier demo left of its output is an error, for
// nothing is ever overwritten but the demo's own inputs.
func Write(dir string) (Files, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Files{}, fmt.Errorf("demo folder: %w", err)
	}
	f := Files{
		Dir: dir, Config: filepath.Join(dir, "run.yaml"), HeldOut: filepath.Join(dir, "heldout.jsonl"),
		OutputDir: filepath.Join(dir, "run"), Export: filepath.Join(dir, "adapter"),
	}
	for _, out := range []string{f.OutputDir, f.Export} {
		if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
			return f, fmt.Errorf("demo folder %s holds an earlier demo (%s): name another with --dir, or remove it", dir, filepath.Base(out))
		}
	}
	err = fs.WalkDir(assets, "assets", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(path, "assets")))
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		data, err := assets.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o644)
	})
	if err != nil {
		return f, fmt.Errorf("write demo files: %w", err)
	}
	return f, nil
}

// Suite asks the held-out prompts and scores the answers' form.
func (f Files) Suite() (session.Suite, error) {
	data, err := os.ReadFile(f.HeldOut)
	if err != nil {
		return session.Suite{}, fmt.Errorf("read held-out prompts: %w", err)
	}
	suite := session.Suite{Name: "support", KPIs: []evalsuite.KPI{{Name: "format", Regex: FormatKPI}}, MaxNewTokens: 96}
	for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		var row struct{ Instruction, Output string }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			return suite, fmt.Errorf("%s:%d: %w", f.HeldOut, i+1, err)
		}
		suite.Cases = append(suite.Cases, evalsuite.Case{ID: fmt.Sprint(i), Prompt: row.Instruction, Reference: row.Output})
	}
	return suite, nil
}
