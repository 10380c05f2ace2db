package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// exported checks the JSON report of an export and gives it with the card.
func exported(t *testing.T, out output, dir string) (o object, card string) {
	t.Helper()
	o = out.object(t)
	o.wants(t, "export", "format:s out:s files:l max_logit_difference:n tolerance:n verified:b base_model:s kind:s licence:s")
	if o["verified"] != true || o["max_logit_difference"].(float64) > o["tolerance"].(float64) {
		t.Errorf("export: %v", o)
	}
	for _, f := range o["files"].([]any) {
		f := object(f.(map[string]any))
		info, err := os.Stat(filepath.Join(dir, f["name"].(string)))
		if err != nil || float64(info.Size()) != f["bytes"] {
			t.Errorf("%v: %v", f, err)
		}
	}
	return o, string(read(t, dir, "README.md"))
}

// The whole way: a run with validation rows, its adapter and its merged model, each loaded again by lathe's own commands, and
// a card that tells of the run.
func TestExportOfARun(t *testing.T) {
	dir := t.TempDir()
	rows := refDir(t, "llama-gqa", "train-lora", "rows.jsonl")
	model := copyModel(t, "llama-gqa")
	write(t, model, "README.md", "---\nlicense: llama3.1\n---\n")
	c := tiny(t, dir, config{"model_name_or_path": model, "validation_file": rows, "eval_strategy": "steps", "eval_steps": 2})
	c["max_seq_length"] = 48
	train(t, dir, c.save(t, dir, "run.yaml"))
	run := filepath.Join(dir, "out")
	f := readForward(t, "llama-gqa")
	want := decodeLines[scoreResult](t, ok(t, "score", "--model", model, "--adapter", run, "--ids", f.idsFile(t)).stdout)
	for _, test := range []struct {
		format string
		score  func(out string) []string
	}{
		{"peft", func(out string) []string { return []string{"--model", model, "--adapter", out} }},
		{"merged", func(out string) []string { return []string{"--model", out} }},
	} {
		out := filepath.Join(dir, test.format)
		o, card := exported(t, ok(t, "export", test.format, "--adapter", run, "--out", out, "--json"), out) // the base is the run's
		for _, word := range []string{
			"llama3.1", "Built with Llama", "700 million", "eval_loss", filepath.Base(rows), "SHA-256", "warm-up", "4 of 4", "How to load it",
		} {
			if !strings.Contains(card, word) {
				t.Errorf("%s: the card does not say %q:\n%s", test.format, word, card)
			}
		}
		if p, _ := o["perplexity"].(map[string]any); test.format == "merged" && (p == nil || !strings.Contains(p["source"].(string), "validation_file")) {
			t.Errorf("perplexity: %v", p)
		}
		got := decodeLines[scoreResult](t, ok(t, append([]string{"score", "--ids", f.idsFile(t)}, test.score(out)...)...).stdout)
		for i := range want {
			if d := got[i].Loss - want[i].Loss; d > 1e-5 || d < -1e-5 { // merged: float32 in another order
				t.Errorf("%s: sequence %d: loss %v, as trained %v", test.format, i, got[i].Loss, want[i].Loss)
			}
		}
		if test.format == "peft" { // from the export the base is found too
			again := filepath.Join(dir, "again")
			exported(t, ok(t, "export", "peft", "--adapter", out, "--out", again, "--json"), again)
		}
	}
	if page := ok(t, "export", "merged", "--adapter", run, "--out", filepath.Join(dir, "4bit"), "--load-in-4bit", "--bnb-4bit-quant-type", "nf4").stdout; !strings.Contains(page, "4 bits again") || !strings.Contains(page, "read back and compared") {
		t.Errorf("%s", page)
	}
}

// An adapter of a QLoRA run: merged into the unquantised base, the report also says how it did on the base that it was trained
// on; merged into that base, nothing is lost. How the run quantised is taken from the run.
func TestExportOfQLoRA(t *testing.T) {
	dir := t.TempDir()
	rows := refDir(t, "llama-gqa", "train-lora", "rows.jsonl")
	c := tiny(t, dir, config{"method": "qlora", "bnb_4bit_quant_type": "fp4", "validation_file": rows, "eval_strategy": "steps", "eval_steps": 2})
	list := train(t, dir, c.save(t, dir, "run.yaml"))
	evals := events(list, "eval")
	measured := evals[len(evals)-1]["perplexity"].(float64)
	run := filepath.Join(dir, "out")
	near := func(x any, y float64) bool { f, ok := x.(float64); return ok && f/y > 1-1e-3 && f/y < 1+1e-3 } // batches round differently
	out := ok(t, "export", "merged", "--adapter", run, "--out", filepath.Join(dir, "plain"), "--json")
	p := out.object(t)["perplexity"].(map[string]any)
	if !near(p["trained"], measured) || near(p["live"], measured) || !near(p["merged"], p["live"].(float64)) || !strings.Contains(out.stderr, "--load-in-4bit") {
		t.Errorf("unquantised: %v, the run measured %v: %s", p, measured, out.stderr)
	}
	p = ok(t, "export", "merged", "--adapter", run, "--out", filepath.Join(dir, "4bit"), "--load-in-4bit", "--json").object(t)["perplexity"].(map[string]any)
	if !near(p["live"], measured) || !near(p["merged"], measured) || p["requantized"] == nil || p["trained"] != nil {
		t.Errorf("in 4 bits: %v, the run measured %v", p, measured)
	}
}

func TestExportRefusals(t *testing.T) {
	dir := t.TempDir()
	model, adapter := refDir(t, "llama-gqa"), refDir(t, "llama-gqa", "adapters", "lora-random")
	out := filepath.Join(dir, "out")
	args := func(args ...string) []string {
		return append([]string{"export", "merged", "--adapter", adapter, "--model", model, "--out", out}, args...)
	}
	alien := t.TempDir()
	write(t, alien, "adapter_config.json", `{"peft_type":"LORA","r":8,"base_model_name_or_path":"meta-llama/Llama-2-7b-hf"}`)
	nobase := t.TempDir()
	write(t, nobase, "adapter_config.json", `{"peft_type":"LORA","r":8,"base_model_name_or_path":null}`)
	damaged := t.TempDir()
	write(t, damaged, "adapter_config.json", `{"peft_type":`)
	typed := t.TempDir()
	write(t, typed, "adapter_config.json", `{"peft_type":"LORA","r":"8","base_model_name_or_path":7,"target_modules":["q_proj"]}`)
	list := t.TempDir()
	write(t, list, "adapter_config.json", `[]`)
	state := t.TempDir()
	write(t, state, "adapter_config.json", string(read(t, adapter, "adapter_config.json")))
	if err := os.Mkdir(filepath.Join(state, "trainer_state"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(state, "trainer_state"), "state.json", "[")
	full := t.TempDir()
	write(t, full, "precious", "")
	for _, test := range []struct {
		args  []string
		code  int
		words []string
	}{
		{[]string{"export"}, exitUsage, []string{"export FORMAT"}},
		{[]string{"export", "gguf", "--adapter", adapter, "--out", out}, exitUsage, []string{"gguf", "not there yet", "merged"}},
		{[]string{"export", "onnx", "--adapter", adapter, "--out", out}, exitUsage, []string{"onnx", "peft or merged"}},
		{[]string{"export", "peft", "--out", out}, exitUsage, []string{"--adapter DIR"}},
		{[]string{"export", "peft", "--adapter", adapter}, exitUsage, []string{"--out DIR"}},
		{[]string{"export", "peft", "--adapter", adapter, "--model", model, "--out", out, "--dtype", "float16"}, exitUsage, []string{"--dtype", "merged"}},
		{[]string{"export", "peft", "--adapter", filepath.Join(dir, "none"), "--out", out}, exitUsage, []string{"none", "no such file"}},
		{[]string{"export", "peft", "--adapter", filepath.Join(dir, "none"), "--model", model, "--out", out}, exitUsage, []string{"none", "no such file"}},
		{[]string{"export", "peft", "--adapter", filepath.Join(adapter, "adapter_config.json"), "--out", out}, exitUsage, []string{"is a file"}},
		{[]string{"export", "peft", "--adapter", model, "--out", out}, exitUsage, []string{"whole model"}},
		{[]string{"export", "peft", "--adapter", typed, "--model", model, "--out", out}, exitFailed, []string{"adapter_config.json", "r:"}},
		{[]string{"export", "peft", "--adapter", list, "--out", out}, exitFailed, []string{"adapter_config.json", "array"}},
		{[]string{"export", "peft", "--adapter", state, "--model", model, "--out", out}, exitFailed, []string{"state.json", "damaged"}},
		{[]string{"export", "peft", "--adapter", alien, "--out", out}, exitUsage, []string{"meta-llama/Llama-2-7b-hf", "no folder here", "--model"}},
		{[]string{"export", "peft", "--adapter", nobase, "--out", out}, exitUsage, []string{"which base", "--model"}},
		{[]string{"export", "peft", "--adapter", damaged, "--model", model, "--out", out}, exitFailed, []string{"adapter_config.json"}},
		{[]string{"export", "peft", "--adapter", adapter, "--model", filepath.Join(dir, "none"), "--out", out}, exitUsage, []string{"none", "no such file"}},
		{[]string{"export", "peft", "--adapter", adapter, "--model", model, "--out", full}, exitUsage, []string{"not empty", "nothing is overwritten"}},
		{[]string{"export", "peft", "--adapter", adapter, "--model", model, "--out", filepath.Join(adapter, "x")}, exitUsage, []string{"lies in"}},
		{args("--dtype", "int4"), exitUsage, []string{"int4", "bfloat16"}},
		{args("--max-shard-size", "5 parsecs"), exitUsage, []string{"5 parsecs", "500MB"}},
		{args("--max-shard-size", "0"), exitUsage, []string{"out of range"}},
		{args("--load-in-4bit", "--bnb-4bit-quant-type", "int4"), exitUsage, []string{"int4", "nf4 or fp4"}},
		{args("--eval-file", filepath.Join(dir, "none.jsonl")), exitUsage, []string{"none.jsonl", "no such file"}},
		{args("--eval-file", write(t, t.TempDir(), "rows.jsonl", "{\"prompt\":\n")), exitFailed, []string{"--eval-file", "rows.jsonl:1"}},
	} {
		refusal(t, lathe(t, test.args...), test.code, test.words...)
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Fatalf("%v left %v", test.args, left)
		}
	}
	if entries, _ := os.ReadDir(full); len(entries) != 1 {
		t.Errorf("%v", entries)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"5GB": 5e9, "500MB": 5e8, "1.5 GiB": 3 << 29, "2tib": 2 << 40, "100": 100, "7kb": 7000, "64B": 64} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "GB", "-1GB", "5GBs", "0", "1e3", "9999999TB", "５GB"} {
		if n, err := parseSize(text); err == nil {
			t.Errorf("%q is %d", text, n)
		}
	}
}
