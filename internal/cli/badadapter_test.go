package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// copyAdapter copies an adapter that PEFT wrote, for a test to damage.
func copyAdapter(t *testing.T, base, name string) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{"adapter_config.json", "adapter_model.safetensors"} {
		write(t, dir, file, string(read(t, refDir(t, base, "adapters", name, file))))
	}
	return dir
}

// setKey changes a key of a JSON file; nil takes it away.
func setKey(t *testing.T, path, key string, value any) {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(read(t, path), &object); err != nil {
		t.Fatal(err)
	}
	if object[key] = value; value == nil {
		delete(object, key)
	}
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Dir(path), filepath.Base(path), string(text))
}

// Adapters that cannot be what they claim: one line that names folder, key or tensor, from every command that takes one.
func TestBadAdapters(t *testing.T) {
	const configFile, weights = "adapter_config.json", "adapter_model.safetensors"
	const tensor = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
	key := func(name string, value any) func(*testing.T, string) {
		return func(t *testing.T, dir string) { setKey(t, filepath.Join(dir, configFile), name, value) }
	}
	edited := func(edit func(h map[string]map[string]any)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { header(t, filepath.Join(dir, weights), edit) }
	}
	gone := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		name   string
		base   string
		damage func(t *testing.T, dir string)
		code   int
		words  []string
	}{
		{"of another base", "llama-bias-tied", func(*testing.T, string) {}, exitFailed, []string{"q_proj", "48", "64"}},
		{"superfluous tensors", "llama-gqa", key("target_modules", []string{"q_proj"}), exitFailed, []string{"lora_", "_proj", "no module that the configuration adapts"}},
		{"missing tensors", "llama-gqa", edited(func(h map[string]map[string]any) {
			h["base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight"] = h[tensor]
			delete(h, tensor)
		}), exitFailed, []string{"layers.0.self_attn.q_proj.lora_A", "missing"}},
		{"another rank", "llama-gqa", key("r", 4), exitFailed, []string{"lora_A", "[8 64]", "[4 64]"}},
		{"another shape", "llama-gqa", edited(func(h map[string]map[string]any) { h[tensor]["shape"] = []int{64, 8} }), exitFailed, []string{"q_proj.lora_A", "[64 8]", "[8 64]"}},
		{"rank 0", "llama-gqa", key("r", 0), exitFailed, []string{configFile, "r"}},
		{"endless rank", "llama-gqa", key("r", 1<<40), exitFailed, []string{configFile, "r"}},
		{"rank as text", "llama-gqa", key("r", "eight"), exitFailed, []string{configFile, "r", "whole number"}},
		{"unknown peft_type", "llama-gqa", key("peft_type", "IA3"), exitFailed, []string{configFile, "peft_type", "IA3", "LORA"}},
		{"no peft_type", "llama-gqa", key("peft_type", nil), exitFailed, []string{configFile, "peft_type"}},
		{"an option that is not honoured", "llama-gqa", key("use_qalora", true), exitFailed, []string{configFile, "use_qalora"}},
		{"an unknown option", "llama-gqa", key("lora_magic", 3), exitFailed, []string{configFile, "lora_magic"}},
		{"expression that does not compile", "llama-gqa", key("target_modules", ".*(q_proj"), exitFailed, []string{"target_modules", "(q_proj"}},
		{"no such module", "llama-gqa", key("target_modules", []string{"wq"}), exitFailed, []string{"target_modules", "nothing matches", "q_proj"}},
		{"config is no JSON", "llama-gqa", func(t *testing.T, dir string) { write(t, dir, configFile, "{") }, exitFailed, []string{configFile}},
		{"config is a list", "llama-gqa", func(t *testing.T, dir string) { write(t, dir, configFile, "[]") }, exitFailed, []string{configFile}},
		{"no config", "llama-gqa", gone(configFile), exitUsage, []string{configFile}},
		{"no weights", "llama-gqa", gone(weights), exitUsage, []string{weights}},
		{"weights cut in half", "llama-gqa", func(t *testing.T, dir string) {
			data := read(t, dir, weights)
			write(t, dir, weights, string(data[:len(data)/2]))
		}, exitFailed, []string{weights, "truncated"}},
		{"NaN in a weight", "llama-gqa", func(t *testing.T, dir string) {
			data := read(t, dir, weights)
			copy(data[len(data)-4:], "\x00\x00\xc0\x7f")
			write(t, dir, weights, string(data))
		}, exitFailed, []string{"lora_", "NaN"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, adapter := t.TempDir(), copyAdapter(t, test.base, "lora-random")
			test.damage(t, adapter)
			before := tree(t, adapter)
			ids := write(t, dir, "ids.jsonl", "{\"ids\":[1,2]}\n")
			yaml := tiny(t, dir, config{"adapter_name_or_path": adapter}).save(t, dir, "run.yaml")
			for _, args := range [][]string{
				{"score", "--model", refDir(t, "llama-gqa"), "--adapter", adapter, "--ids", ids},
				{"generate", "--model", refDir(t, "llama-gqa"), "--adapter", adapter, "--prompt-ids", "1,2"},
				{"train", "--workspace", dir, "-c", yaml},
				{"export", "merged", "--model", refDir(t, "llama-gqa"), "--adapter", adapter, "--out", filepath.Join(dir, "merged")},
				{"export", "peft", "--model", refDir(t, "llama-gqa"), "--adapter", adapter, "--out", filepath.Join(dir, "peft")},
			} {
				t.Run(strings.Join(args[:2], " "), func(t *testing.T) { refusal(t, lathe(t, args...), test.code, test.words...) })
			}
			untouched(t, filepath.Join(dir, "out"))
			untouched(t, filepath.Join(dir, "merged"))
			untouched(t, filepath.Join(dir, "peft"))
			unchanged(t, adapter, before)
		})
	}
}
