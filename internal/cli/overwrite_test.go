package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// aliases are other ways to name a file or a folder; relative names begin at the folder from.
var aliases = []struct {
	name string
	of   func(t *testing.T, from, path string) string // "" where a folder cannot have it
}{
	{"the same name", func(_ *testing.T, _, path string) string { return path }},
	{"relative", func(t *testing.T, from, path string) string {
		rel, err := filepath.Rel(from, path)
		if err != nil {
			t.Fatal(err)
		}
		return "./" + rel
	}},
	{"through its folder", func(_ *testing.T, _, path string) string {
		return filepath.Dir(path) + "/../" + filepath.Base(filepath.Dir(path)) + "/./" + filepath.Base(path)
	}},
	{"a symbolic link", func(t *testing.T, _, path string) string { return linked(t, os.Symlink, path) }},
	{"a hard link", func(t *testing.T, _, path string) string {
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			return ""
		}
		return linked(t, os.Link, path)
	}},
	{"a link to its folder", func(t *testing.T, _, path string) string {
		return filepath.Join(linked(t, os.Symlink, filepath.Dir(path)), filepath.Base(path))
	}},
}

func linked(t *testing.T, link func(string, string) error, path string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "link.jsonl")
	if err := link(path, name); err != nil {
		t.Skipf("skipped: no links here: %v", err)
	}
	return name
}

// tree is the bytes of every file below a folder.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files[path] = string(read(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// unchanged checks that a folder holds what it held.
func unchanged(t *testing.T, dir string, before map[string]string) {
	t.Helper()
	after := tree(t, dir)
	for path, data := range before {
		if after[path] != data {
			t.Errorf("%s was written to, moved or removed", path)
		}
	}
	for path := range after {
		if _, was := before[path]; !was {
			t.Errorf("%s was left behind", path)
		}
	}
}

func TestOutputsAreNotInputs(t *testing.T) {
	const rows = `{"prompt":"a","completion":"b"}` + "\n" + `{"prompt":"c","completion":"d"}` + "\n" + `{"prompt":"e","completion":"f"}` + "\n"
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, alias := range aliases {
		t.Run(alias.name, func(t *testing.T) {
			for _, command := range []string{"dedupe", "redact"} {
				dir := t.TempDir()
				file := write(t, dir, "rows.jsonl", rows)
				before := tree(t, dir)
				refusal(t, lathe(t, "data", command, file, "--out", alias.of(t, here, file)), exitUsage, "the output is the input", "another name")
				refusal(t, lathe(t, "data", command, alias.of(t, here, file), "--out", file), exitUsage, "the output is the input", "another name")
				unchanged(t, dir, before)
			}
			for _, part := range []string{"train.jsonl", "validation.jsonl", "test.jsonl"} {
				dir := t.TempDir()
				file := write(t, dir, part, rows)
				before := tree(t, dir)
				refusal(t, lathe(t, "data", "split", alias.of(t, here, file), "--out", dir, "--ratio", "0.34,0.33,0.33"), exitUsage, "the output is the input", part)
				unchanged(t, dir, before)
			}
		})
	}
}

// A part that the ratios leave out may be the input: it is not written.
func TestSplitBesideItsInput(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "test.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n")
	ok(t, "data", "split", file, "--out", dir, "--ratio", "0.5,0.5")
}

// A run whose output_dir is what it reads, or holds it where the run writes, is refused before it touches anything.
func TestTrainOutputsAreNotInputs(t *testing.T) {
	for _, alias := range aliases {
		t.Run(alias.name, func(t *testing.T) {
			dir := t.TempDir()
			model := filepath.Join(dir, "model")
			if err := os.Rename(copyModel(t, "llama-gqa"), model); err != nil {
				t.Fatal(err)
			}
			first := tiny(t, dir, config{"output_dir": filepath.Join(dir, "old")}).save(t, dir, "first.yaml")
			train(t, dir, first, "--max-steps", "1")
			old, rows := filepath.Join(dir, "old"), string(read(t, refDir(t, "llama-gqa", "train-lora", "rows.jsonl")))
			write(t, old, "tokenizer.json", rows)
			write(t, old, "mine.jsonl", rows)
			if err := os.RemoveAll(filepath.Join(dir, ".lathe")); err != nil {
				t.Fatal(err)
			}
			history := t.TempDir()
			for _, test := range []struct {
				name    string
				changes config
				words   []string
			}{
				{"model", config{"model_name_or_path": model, "output_dir": alias.of(t, history, model)}, []string{"output_dir", "model_name_or_path", "overwrite"}},
				{"full", config{"model_name_or_path": alias.of(t, history, model), "output_dir": model, "method": "full", "load_in_4bit": false}, []string{"output_dir", "model_name_or_path"}},
				{"adapter", config{"adapter_name_or_path": old, "output_dir": alias.of(t, history, old)}, []string{"output_dir", "adapter_name_or_path"}},
				{"rows", config{"train_file": alias.of(t, history, filepath.Join(old, "tokenizer.json")), "output_dir": old}, []string{"train_file", "tokenizer.json", "output_dir"}},
				{"rows to validate", config{"validation_file": filepath.Join(old, "trainer_state", "state.json"), "output_dir": alias.of(t, history, old)}, []string{"validation_file", "state.json"}},
			} {
				t.Run(test.name, func(t *testing.T) {
					if alias.name == "a hard link" {
						t.Skip("skipped: a folder has no hard links, and a file's other name stays what it is when one is replaced")
					}
					yaml := tiny(t, history, test.changes).save(t, history, "run.yaml")
					before := tree(t, dir)
					for _, args := range [][]string{{"train", "--workspace", history, "-c", yaml}, {"plan", "-c", yaml}} {
						out := lathe(t, args...)
						words := test.words
						if alias.name == "a symbolic link" && test.name == "rows" {
							words = []string{"train_file", "link.jsonl", "output_dir"}
						}
						refusal(t, out, exitUsage, words...)
					}
					unchanged(t, dir, before)
				})
			}
			// Beside what the run writes, rows may lie where they like.
			free := tiny(t, dir, config{"train_file": filepath.Join(old, "mine.jsonl"), "output_dir": old}).save(t, dir, "free.yaml")
			train(t, dir, free, "--max-steps", "1")
		})
	}
}

// An adapter among the checkpoints that a new run would move aside is not gone on from there.
func TestTrainFromItsOwnCheckpoint(t *testing.T) {
	dir := t.TempDir()
	train(t, dir, tiny(t, dir, config{"save_strategy": "steps", "save_steps": 2}).save(t, dir, "run.yaml"))
	out := filepath.Join(dir, "out")
	before := tree(t, out)
	yaml := tiny(t, dir, config{"adapter_name_or_path": filepath.Join(out, "checkpoint-2")}).save(t, dir, "again.yaml")
	refusal(t, lathe(t, "train", "--workspace", dir, "-c", yaml), exitUsage, "adapter_name_or_path", "checkpoint-2", "--resume")
	unchanged(t, out, before)
}

// A folder with weights that are no result of lathe's is not a place to train into.
func TestTrainIntoForeignModel(t *testing.T) {
	for _, name := range []string{"model.safetensors", "adapter_model.safetensors", "model.safetensors.index.json"} {
		dir := t.TempDir()
		out := filepath.Join(dir, "out")
		if err := os.Mkdir(out, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, out, name, "somebody's")
		yaml := tiny(t, dir, nil).save(t, dir, "run.yaml")
		refusal(t, lathe(t, "train", "--workspace", dir, "-c", yaml), exitUsage, "output_dir", name, "another folder")
		if string(read(t, out, name)) != "somebody's" {
			t.Errorf("%s was overwritten", name)
		}
	}
}
