package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
)

// wants checks that an object has keys, each of a JSON type: n for a number, s for text that is not empty, t for text, o for
// an object, l for a list, b for a truth value.
func (o object) wants(t *testing.T, what, keys string) {
	t.Helper()
	for _, key := range strings.Fields(keys) {
		name, kind, _ := strings.Cut(key, ":")
		fits := false
		switch v := o[name].(type) {
		case float64:
			fits = kind == "n"
		case string:
			fits = kind == "t" || kind == "s" && v != ""
		case map[string]any:
			fits = kind == "o"
		case []any:
			fits = kind == "l"
		case bool:
			fits = kind == "b"
		}
		if !fits {
			t.Errorf("%s: %s is %v (%T), want a %s", what, name, o[name], o[name], kind)
		}
	}
}

// Every command of the contract is there, and takes --json and --device.
func TestCommands(t *testing.T) {
	root := newRoot(&env{stdout: &checkedWriter{w: os.Stdout}})
	for _, name := range []string{
		"demo", "train", "plan", "score", "tokenize", "render", "generate", "inspect", "export", "doctor", "bench train",
		"data lint", "data dedupe", "data redact", "data split", "data stats",
	} {
		cmd, rest, err := root.Find(strings.Fields(name))
		if err != nil || len(rest) > 0 || cmd.CommandPath() != "lathe "+name {
			t.Errorf("%s: found %q (%v)", name, cmd.CommandPath(), err)
			continue
		}
		for _, flag := range []string{"json", "device"} {
			if cmd.InheritedFlags().Lookup(flag) == nil {
				t.Errorf("%s takes no --%s", name, flag)
			}
		}
		if cmd.Short == "" {
			t.Errorf("%s does not say what it does", name)
		}
	}
}

func TestTrainEvents(t *testing.T) {
	dir := t.TempDir()
	rows := refDir(t, "llama-gqa", "train-lora", "rows.jsonl")
	c := tiny(t, dir, config{
		"max_steps": 4, "validation_file": rows, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2,
	})
	list := train(t, dir, c.save(t, dir, "run.yaml"))
	kinds := map[string]string{
		"started": "plan:o",
		"step":    "step:n epoch:n loss:n learning_rate:n grad_norm:n tokens:n tokens_per_second:n",
		"eval":    "step:n eval_loss:n perplexity:n",
		"saved":   "path:s",
		"done":    "step:n reason:s path:s",
	}
	count := map[string]int{}
	for i, e := range list {
		kind, _ := e["event"].(string)
		count[kind]++
		if kind != "notice" {
			e.wants(t, fmt.Sprintf("event %d, %s", i, kind), kinds[kind])
		}
	}
	if count["step"] != 4 || count["eval"] != 2 || count["saved"] != 2 || count["done"] != 1 || list[len(list)-1]["event"] != "done" {
		t.Errorf("events: %v, the last is %v", count, list[len(list)-1])
	}
	for _, name := range []string{"adapter_config.json", "adapter_model.safetensors", "trainer_state/state.json"} {
		for _, folder := range []string{"out", "out/checkpoint-2", "out/checkpoint-4"} {
			if _, err := os.Stat(filepath.Join(dir, folder, name)); err != nil {
				t.Error(err)
			}
		}
	}
	failed := lathe(t, "train", "-c", tiny(t, dir, config{"train_file": write(t, dir, "bad.jsonl", "x\n")}).save(t, dir, "bad.yaml"), "--workspace", dir, "--json")
	if e := failed.object(t); failed.code != exitFailed || e["event"] != "failed" || !strings.Contains(failed.stderr, e["error"].(string)) {
		t.Errorf("%+v", failed)
	}
}

func TestPlan(t *testing.T) {
	dir := t.TempDir()
	yaml := tiny(t, dir, nil).save(t, dir, "run.yaml")
	p := ok(t, "plan", "-c", yaml, "--json").object(t)
	p.wants(t, "plan", "steps:n rows:n tokens:n parameters:n trainable:n available:n fits:b memory:o seconds_estimate:n")
	if p["fits"] != true || p["steps"] != 4.0 || p["rows"] != 21.0 || p["parameters"] != 102720.0 {
		t.Errorf("plan: %v", p)
	}
	if steps := ok(t, "plan", "-c", yaml, "--max-steps", "7", "--json").object(t)["steps"]; steps != 7.0 {
		t.Errorf("--max-steps 7 plans %v steps", steps)
	}
	if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
		t.Error("a plan made the output folder")
	}
	if text := ok(t, "plan", "-c", yaml).stdout; !strings.Contains(text, "steps") || !strings.Contains(text, "memory") {
		t.Errorf("plan: %s", text)
	}
}

// grow makes a model of half a terabyte, almost all of it a hole in its file: what reads headers alone must cope.
func grow(t *testing.T, model string) {
	t.Helper()
	const vocab, hidden = 1 << 24, 4096
	path := filepath.Join(model, "model.safetensors")
	var size int64
	header(t, path, func(h map[string]map[string]any) {
		delete(h, "__metadata__")
		names := make([]string, 0, len(h))
		for name := range h {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			shape := h[name]["shape"].([]any)
			switch {
			case name == "lm_head.weight" || name == "model.embed_tokens.weight":
				shape[0], shape[1] = float64(vocab), float64(hidden)
			case strings.Contains(name, "o_proj") || strings.Contains(name, "down_proj"):
				shape[0] = float64(hidden)
			default:
				shape[len(shape)-1] = float64(hidden)
			}
			n := int64(4)
			for _, d := range shape {
				n *= int64(d.(float64))
			}
			h[name]["data_offsets"] = []int64{size, size + n}
			size += n
		}
	})
	data := read(t, path)
	start := int64(8) + int64(data[0]) + int64(data[1])<<8 + int64(data[2])<<16
	if err := os.Truncate(path, start+size); err != nil {
		t.Skipf("skipped: this file system has no files of %d bytes: %v", start+size, err)
	}
	sizes := strings.NewReplacer(`"vocab_size": 272`, fmt.Sprintf(`"vocab_size": %d`, vocab), `"hidden_size": 64`, fmt.Sprintf(`"hidden_size": %d`, hidden))
	write(t, model, "config.json", sizes.Replace(string(read(t, model, "config.json"))))
}

// A run that cannot fit is refused before a weight is read: exit 1, how much is missing, and what to lower.
func TestRunThatDoesNotFit(t *testing.T) {
	model, dir := copyModel(t, "llama-gqa"), t.TempDir()
	grow(t, model)
	yaml := tiny(t, dir, config{"model_name_or_path": model}).save(t, dir, "run.yaml")
	plan := lathe(t, "plan", "-c", yaml, "--json")
	if p := plan.object(t); plan.code != exitFailed || p["fits"] != false {
		t.Errorf("%+v", plan)
	}
	refusal(t, lathe(t, "plan", "-c", yaml), exitFailed, "will not fit", "GiB")
	refusal(t, lathe(t, "train", "-c", yaml, "--workspace", dir), exitFailed, "memory", "GiB", "free")
	untouched(t, filepath.Join(dir, "out"))
	if o := ok(t, "inspect", "--model", model, "--json").object(t); o["parameters"].(float64) < 1e11 {
		t.Errorf("inspect: %v", o)
	}
	ids := write(t, dir, "ids.jsonl", "{\"ids\":[1,2]}\n")
	refusal(t, lathe(t, "score", "--model", model, "--ids", ids), exitFailed, "memory")
}

func TestInspect(t *testing.T) {
	o := ok(t, "inspect", "--model", refDir(t, "llama-gqa-bf16"), "--json").object(t)
	o.wants(t, "inspect", "family:s parameters:n dtype:s bytes:n context_length:n licence:s tokenizer:s template:s memory:o")
	object(o["memory"].(map[string]any)).wants(t, "memory", "full:n lora:n qlora:n")
	if o["family"] != "llama" || o["parameters"] != 102720.0 || o["dtype"] != "bfloat16" || o["bytes"] != 205440.0 || o["context_length"] != 128.0 {
		t.Errorf("inspect: %v", o)
	}
}

func TestGenerate(t *testing.T) {
	model := refDir(t, "llama-gqa")
	args := []string{"generate", "--model", model, "--prompt", "the cat", "--max-new-tokens", "12", "--temperature", "0.9", "--top-p", "0.95", "--top-k", "50"}
	sampled := func(seed string) generateResult {
		out := ok(t, append(args, "--seed", seed, "--json")...)
		out.object(t).wants(t, "generate", "text:t ids:l finish_reason:s tokens_per_second:n")
		return decodeLines[generateResult](t, out.stdout)[0]
	}
	a, b, c := sampled("1"), sampled("1"), sampled("2")
	if fmt.Sprint(a.IDs) != fmt.Sprint(b.IDs) || fmt.Sprint(a.IDs) == fmt.Sprint(c.IDs) {
		t.Errorf("seed 1: %v and %v, seed 2: %v", a.IDs, b.IDs, c.IDs)
	}
	if plain := ok(t, append(args, "--seed", "1")...).stdout; plain != a.Text+"\n" {
		t.Errorf("streamed %q, with --json %q", plain, a.Text)
	}
	// an end of the text that greedy decoding of this prompt comes to: it goes on only when asked
	f := readForward(t, "llama-gqa")
	prompt := strings.Trim(strings.ReplaceAll(fmt.Sprint(f.PromptIDs), " ", ","), "[]")
	ends := copyModel(t, "llama-gqa")
	end := f.Generated[9]
	at := slices.Index(f.Generated, end)
	setKey(t, filepath.Join(ends, "generation_config.json"), "eos_token_id", end)
	out := decodeLines[generateResult](t, ok(t, "generate", "--model", ends, "--prompt-ids", prompt, "--max-new-tokens", "40", "--json").stdout)[0]
	on := decodeLines[generateResult](t, ok(t, "generate", "--model", ends, "--prompt-ids", prompt, "--max-new-tokens", "40", "--ignore-eos", "--json").stdout)[0]
	if on.FinishReason != "length" || fmt.Sprint(on.IDs) != fmt.Sprint(f.Generated[:40]) {
		t.Errorf("with --ignore-eos %+v, want %v", on, f.Generated[:40])
	}
	if out.FinishReason != "stop" || len(out.IDs) < at || len(out.IDs) > at+1 || fmt.Sprint(out.IDs[:at]) != fmt.Sprint(f.Generated[:at]) {
		t.Errorf("got %+v, want the first %d of %v", out, at, f.Generated)
	}
}

func TestScoreText(t *testing.T) {
	dir := t.TempDir()
	texts := write(t, dir, "texts.jsonl", "{\"text\":\"the cat sat\"}\n\n{\"text\":\"naïve café\"}\n")
	model := refDir(t, "llama-gqa")
	var lines strings.Builder
	for _, r := range decodeLines[object](t, ok(t, "tokenize", "--model", model, "--text", texts, "--json").stdout) {
		line, _ := json.Marshal(r)
		fmt.Fprintf(&lines, "%s\r\n", line) // CRLF and a byte order mark are no faults
	}
	ids := write(t, dir, "ids.jsonl", "\ufeff"+lines.String())
	byText, byIDs := ok(t, "score", "--model", model, "--text", texts, "--json"), ok(t, "score", "--model", model, "--ids", ids, "--json")
	if byText.stdout != byIDs.stdout || len(byText.objects(t)) != 2 {
		t.Errorf("by text:\n%sby ids:\n%s", byText.stdout, byIDs.stdout)
	}
}

func TestDoctor(t *testing.T) {
	o := ok(t, "doctor", "--json").object(t)
	o.wants(t, "doctor", "version:s checks:l")
	names := map[string]bool{}
	for _, c := range o["checks"].([]any) {
		check := object(c.(map[string]any))
		check.wants(t, "check", "name:s ok:b text:s")
		names[check["name"].(string)] = check["ok"].(bool)
	}
	if !names["cpu"] || !names["kernels"] || !names["memory"] {
		t.Errorf("checks: %v", names)
	}
}

func TestData(t *testing.T) {
	dir := t.TempDir()
	text := `{"prompt":"Mail a@b.co","completion":"x"}` + "\r\n" + `{"prompt":"Mail a@b.co","completion":"x"}` + "\r\n" + `{"prompt":"q", "completion":"\u0079", "n":1.50}` + "\r\n"
	file, out := write(t, dir, "rows.jsonl", text), filepath.Join(dir, "new.jsonl")
	lint := ok(t, "data", "lint", file, "--json").objects(t)
	for _, f := range lint[:len(lint)-1] {
		f.wants(t, "finding", "file:s line:n row:n field:t code:s level:s message:s")
	}
	if summary := lint[len(lint)-1]; summary["code"] != nil || summary["rows"] != 3.0 || summary["errors"] != 0.0 {
		t.Errorf("summary: %v", summary)
	}
	ok(t, "data", "dedupe", file, "--out", out, "--json").object(t).wants(t, "dedupe", "kept:n removed_exact:n removed_near:n")
	if got := string(read(t, out)); got != text[strings.Index(text, "\n")+1:] && got != text[:strings.Index(text, "\n")+1]+text[strings.LastIndex(text[:len(text)-1], "\n")+1:] {
		t.Errorf("dedupe keeps %q", got)
	}
	ok(t, "data", "redact", file, "--out", out)
	if got, want := string(read(t, out)), strings.ReplaceAll(text, "a@b.co", "[EMAIL]"); got != want {
		t.Errorf("redact: %q, want %q", got, want)
	}
	again := filepath.Join(dir, "again.jsonl")
	ok(t, "data", "redact", out, "--out", again)
	if string(read(t, again)) != string(read(t, out)) {
		t.Error("a second redact changes something")
	}
	ok(t, "data", "split", file, "--out", filepath.Join(dir, "parts"), "--ratio", "0.34,0.33,0.33", "--seed", "3", "--json").object(t)
	for _, name := range []string{"train.jsonl", "validation.jsonl", "test.jsonl"} {
		if lines := strings.Count(string(read(t, dir, "parts", name)), "\n"); lines != 1 {
			t.Errorf("%s has %d rows", name, lines)
		}
	}
	if rows := ok(t, "data", "stats", file, "--json").object(t)["rows"]; rows != 3.0 {
		t.Errorf("stats: %v rows", rows)
	}
	for _, args := range [][]string{
		{"data", "dedupe", file, "--out", file},
		{"data", "redact", file, "--out", file},
		{"data", "redact", file},
		{"data", "split", file, "--out", dir, "--ratio", "0.8,0.8"},
		{"data", "split", file, "--out", dir, "--ratio", "x"},
	} {
		if refused := lathe(t, args...); refused.code != exitUsage || refused.stdout != "" {
			t.Errorf("%v: %+v", args, refused)
		}
	}
	if string(read(t, file)) != text {
		t.Error("the input was written to")
	}
}
