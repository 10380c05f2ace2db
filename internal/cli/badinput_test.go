package cli

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// untouched checks that a refused run wrote nothing into its output folder.
func untouched(t *testing.T, out string) {
	t.Helper()
	entries, err := os.ReadDir(out)
	if err == nil && len(entries) > 0 {
		t.Errorf("a refused run left %v in its output folder", entries)
	}
}

const plainRun = `model_name_or_path: MODEL
train_file: ROWS
output_dir: OUT
method: lora
max_steps: 2
eval_strategy: no
save_strategy: no
`

// plain fills in the paths of plainRun.
func plain(t *testing.T, dir string) string {
	return strings.NewReplacer("MODEL", refDir(t, "llama-gqa"), "ROWS", refDir(t, "llama-gqa", "train-lora", "rows.jsonl"),
		"OUT", filepath.Join(dir, "out")).Replace(plainRun)
}

func TestBadRunYAML(t *testing.T) {
	for _, test := range []struct {
		name     string
		old, new string // what of plainRun is replaced; without old, new is added
		words    []string
	}{
		{"unknown key", "", "lerning_rate: 1", []string{"line 8", "lerning_rate", "nearest", "learning_rate"}},
		{"unknown nested key", "", "lora: {lora_alhpa: 3}", []string{"line 8", "lora.lora_alhpa", "lora.lora_alpha"}},
		{"no such method", "method: lora", "method: lorra", []string{"line 4", "method", "lorra", "qlora"}},
		{"key twice", "", "max_steps: 3", []string{"line 8", "max_steps", "line 5"}},
		{"number beyond 64 bits", "max_steps: 2", "max_steps: 99999999999999999999", []string{"line 5", "max_steps", "whole number"}},
		{"batch beyond any device", "", "per_device_train_batch_size: 1000000000", []string{"line 8", "per_device_train_batch_size"}},
		{"rank beyond any matrix", "", "lora: {r: 1000000}", []string{"lora.r", "16384"}},
		{"negative rank", "", "lora: {r: -1}", []string{"line 8", "lora.r", "1 or more"}},
		{"no such module", "", "lora: {target_modules: [nope_proj]}", []string{"lora.target_modules", "q_proj"}},
		{"bad expression", "", "lora: {target_modules: '.*(q_proj'}", []string{"lora.target_modules", "(q_proj"}},
		{"negative rate", "", "learning_rate: -1", []string{"line 8", "learning_rate", "2e-4"}},
		{"NaN as rate", "", "learning_rate: .nan", []string{"line 8", "learning_rate"}},
		{"infinite rate", "", "learning_rate: .inf", []string{"line 8", "learning_rate"}},
		{"text as number", "max_steps: 2", "max_steps: two", []string{"line 5", "max_steps", "whole number", "two"}},
		{"a list as text", "output_dir: OUT", "output_dir: [a, b]", []string{"line 3", "output_dir"}},
		{"no output_dir", "output_dir: OUT\n", "", []string{"output_dir", "missing"}},
		{"a bias that PEFT does not have", "", "lora: {bias: some}", []string{"line 8", "lora.bias", "some", "lora_only"}},
		{"modules to save that are none", "", "lora: {modules_to_save: [nothing]}", []string{"lora.modules_to_save", "nothing"}},
		{"ranks of an expression that does not compile", "", "lora: {rank_pattern: {'(q': 4}}", []string{"rank_pattern", "(q"}},
		{"a rank of 0 in a pattern", "", "lora: {rank_pattern: {q_proj: 0}}", []string{"rank_pattern", "q_proj"}},
		{"layers that are not there", "", "lora: {layers_to_transform: [7]}", []string{"target_modules", "nothing matches"}},
		{"excluded down to nothing", "", "lora: {target_modules: [q_proj], exclude_modules: [q_proj]}", []string{"target_modules", "nothing"}},
		{"no such adapter", "method: lora", "method: adapter\nadapter: {config: parallel}", []string{"adapter.config", "parallel", "houlsby", "pfeiffer"}},
		{"a negative reduction", "method: lora", "method: adapter\nadapter: {reduction_factor: -2}", []string{"adapter.reduction_factor", "-2"}},
		{"no such non-linearity", "method: lora", "method: adapter\nadapter: {non_linearity: cubic}", []string{"adapter.non_linearity", "cubic", "relu"}},
		{"a prefix of nothing", "method: lora", "method: prefix\nprefix: {num_virtual_tokens: 0}", []string{"prefix.num_virtual_tokens", "0"}},
		{"a prefix longer than the context", "method: lora", "method: prefix\nprefix: {num_virtual_tokens: 100000}", []string{"num_virtual_tokens", "100000"}},
		{"a prefix that leaves no room", "method: lora", "method: prefix\nprefix: {num_virtual_tokens: 255}", []string{"num_virtual_tokens", "255"}},
		{"a projection of nothing", "method: lora", "method: prefix\nprefix: {prefix_projection: true, encoder_hidden_size: -1}", []string{"prefix.encoder_hidden_size", "-1"}},
		{"no such optimiser", "", "optim: lion", []string{"line 8", "optim", "lion", "adamw"}},
		{"no such quantisation", "method: lora", "method: qlora\nbnb_4bit_quant_type: int4", []string{"bnb_4bit_quant_type", "int4", "nf4", "fp4"}},
		{"both halves", "", "fp16: true\nbf16: true", []string{"fp16", "bf16"}},
		{"DoRA of text", "", "lora: {use_dora: perhaps}", []string{"line 8", "lora.use_dora", "perhaps"}},
		{"a full run in 4 bits", "method: lora", "method: full\nload_in_4bit: true", []string{"load_in_4bit", "full"}},
		{"QLoRA without 4 bits", "method: lora", "method: qlora\nload_in_4bit: false", []string{"load_in_4bit", "qlora"}},
		{"no YAML", "method: lora", "method: [lora", []string{"not YAML", "line"}},
		{"a tab", "method: lora", "\tmethod: lora", []string{"not YAML", "line 4"}},
		{"empty", plainRun, "", []string{"empty", "model_name_or_path"}},
		{"binary", plainRun, "a\x00b", []string{"not YAML"}},
		{"no such rows", "ROWS", "none.jsonl", []string{"train_file", "none.jsonl", "no such file"}},
		{"rows are a folder", "ROWS", ".", []string{"train_file", "directory", "name a file"}},
		{"rows are a loop", "ROWS", "loop", []string{"train_file", "loop", "symbolic links"}},
		{"no such model", "MODEL", "none", []string{"model_name_or_path", "none", "no such file"}},
		{"model is a file", "MODEL", "run.yaml", []string{"model_name_or_path", "run.yaml", "folder"}},
		{"model is a loop", "MODEL", "loop", []string{"model_name_or_path", "loop", "symbolic links"}},
		{"model is any folder", "MODEL", ".", []string{"model_name_or_path", "config.json"}},
		{"output is a file", "OUT", "run.yaml", []string{"output_dir", "run.yaml", "folder"}},
		{"output in a file", "OUT", "run.yaml/out", []string{"output_dir", "run.yaml", "folder"}},
		{"output is a loop", "OUT", "loop", []string{"output_dir", "loop", "folder"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
				t.Skipf("skipped: no symbolic links here: %v", err)
			}
			text := plainRun + test.new
			if test.old != "" {
				text = strings.Replace(plainRun, test.old, test.new, 1)
			}
			text = strings.NewReplacer("MODEL", refDir(t, "llama-gqa"), "ROWS", refDir(t, "llama-gqa", "train-lora", "rows.jsonl"),
				"OUT", filepath.Join(dir, "out")).Replace(text)
			yaml := write(t, dir, "run.yaml", text)
			refusal(t, lathe(t, "train", "-c", yaml, "--workspace", dir), exitUsage, test.words...)
			untouched(t, filepath.Join(dir, "out"))
			if string(read(t, yaml)) != text {
				t.Error("run.yaml was written to")
			}
		})
	}
}

// Every fault of a run.yaml is told at once, a line each.
func TestManyFaultsOfARunYAML(t *testing.T) {
	dir := t.TempDir()
	out := lathe(t, "train", "-c", write(t, dir, "run.yaml", plainRun+"lerning_rate: 1\nseeed: 2\n"), "--workspace", dir)
	if out.code != exitUsage || !strings.Contains(out.stderr, "learning_rate") || !strings.Contains(out.stderr, "seeed") {
		t.Errorf("%+v", out)
	}
}

func TestRunYAMLOfOtherSystems(t *testing.T) {
	for name, change := range map[string]func(string) string{
		"CRLF":            func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"byte order mark": func(s string) string { return "\ufeff" + s },
		"no last newline": func(s string) string { return strings.TrimSuffix(s, "\n") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			train(t, dir, write(t, dir, "run.yaml", change(plain(t, dir))))
			if len(read(t, dir, "out", "adapter_model.safetensors")) == 0 {
				t.Error("no adapter")
			}
		})
	}
}

// Rows that cannot be trained on: file, line and code, exit 1, and `data lint` finds the same.
func TestBadRows(t *testing.T) {
	const good = `{"prompt":"Where is it?","completion":"Here."}` + "\n"
	for _, test := range []struct {
		name, rows string
		line       string
		words      []string
	}{
		{"not UTF-8", good + "{\"prompt\":\"a\",\"completion\":\"\xff\xfe\"}\n", ":2:", []string{"bad_utf8", "UTF-8"}},
		{"not JSON", good + good + "foo\n", ":3:", []string{"data_type", "not JSON"}},
		{"cut off", good + `{"prompt":"a","compl`, ":2:", []string{"data_type", "not JSON"}},
		{"no object", "5\n", ":1:", []string{"data_type", "number"}},
		{"empty file", "", ":1:", []string{"data_type", "empty"}},
		{"blank file", "\n \n", "", []string{"data_type"}},
		{"unknown fields", good + `{"foo":1}` + "\n", ":2:", []string{"foo"}},
		{"no answer", good + `{"prompt":"a","completion":""}` + "\n", ":2:", []string{"empty_output"}},
		{"nobody answers", `{"messages":[{"role":"user","content":"hi"}]}` + "\n", ":1:", []string{"example_missing_assistant_message"}},
		{"no trained token", `{"input_ids":[1,2,3],"labels":[-100,-100,-100]}` + "\n", ":1:", []string{"no token is trained"}},
		{"answer cut off", good + `{"prompt":"` + strings.Repeat("long ", 100) + `","completion":"b"}` + "\n", ":2:", []string{"no token is trained", "max_seq_length"}},
		{"id beyond the vocabulary", `{"input_ids":[1,2,272]}` + "\n", ":1:", []string{"272", "vocabulary", "271"}},
		{"negative id", `{"input_ids":[1,-5,3]}` + "\n", ":1:", []string{"-5"}},
		{"label beyond the vocabulary", `{"input_ids":[1,2,3],"labels":[1,2,999]}` + "\n", ":1:", []string{"999"}},
		{"fewer labels than ids", `{"input_ids":[1,2,3],"labels":[1,2]}` + "\n", ":1:", []string{"3 input_ids", "2 labels"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			rows := write(t, dir, "rows.jsonl", test.rows)
			yaml := tiny(t, dir, config{"train_file": rows}).save(t, dir, "run.yaml")
			for _, command := range [][]string{{"train", "--workspace", dir}, {"plan"}} {
				out := lathe(t, append(command, "-c", yaml)...)
				refusal(t, out, exitFailed, append(test.words, "train_file", rows+test.line)...)
			}
			untouched(t, filepath.Join(dir, "out"))
			lint := lathe(t, "data", "lint", rows, "--model", refDir(t, "llama-gqa"), "--max-seq-length", "64", "--json")
			found := lint.objects(t)
			if lint.code != exitFailed || len(found) < 2 || found[0]["level"] == nil || lint.stderr != "" {
				t.Errorf("lint: %+v", lint)
			}
		})
	}
}

// badLines are what every command that reads JSON lines refuses.
func TestBadLines(t *testing.T) {
	model := refDir(t, "llama-gqa")
	score, texts, messages := []string{"score", "--model", model, "--ids"}, []string{"tokenize", "--model", model, "--text"}, []string{"render", "--model", model, "--messages"}
	for _, test := range []struct {
		name, text string
		command    []string
		words      []string
	}{
		{"empty file", "", score, []string{"no line"}},
		{"not JSON", "{\"ids\":[1,2]}\nfoo\n", score, []string{":2:", "not JSON"}},
		{"two values", "{\"ids\":[1,2]} {\"ids\":[1,2]}\n", score, []string{":1:", "not JSON"}},
		{"no ids", "{\"id\":[1,2]}\n", score, []string{":1:", `"ids"`}},
		{"empty ids", "{\"ids\":[]}\n", score, []string{":1:", "at least two"}},
		{"one id", "{\"ids\":[1]}\n", score, []string{":1:", "at least two"}},
		{"no list", "{\"ids\":\"1 2\"}\n", score, []string{":1:", "ids", "a list"}},
		{"an id of half", "{\"ids\":[1,2.5]}\n", score, []string{":1:", "ids", "2.5"}},
		{"an id beyond 32 bits", "{\"ids\":[1,3000000000]}\n", score, []string{":1:", "3000000000"}},
		{"an id beyond the vocabulary", "{\"ids\":[1,2]}\n{\"ids\":[1,272]}\n", score, []string{":2:", "272", "vocabulary"}},
		{"a negative id", "{\"ids\":[1,-1]}\n", score, []string{":1:", "-1", "vocabulary"}},
		{"not UTF-8", "{\"text\":\"\xff\"}\n", texts, []string{":1:", "UTF-8"}},
		{"no text", "{}\n", texts, []string{":1:", `"text"`}},
		{"a number as text", "{\"text\":1}\n", texts, []string{":1:", "text"}},
		{"no messages", "{}\n", messages, []string{":1:", "messages"}},
		{"messages are no list", "{\"messages\":5}\n", messages, []string{":1:", "messages"}},
		{"no object", "[]\n", messages, []string{":1:", "object"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := write(t, t.TempDir(), "lines.jsonl", test.text)
			refusal(t, lathe(t, append(test.command, file, "--json")...), exitFailed, append(test.words, file)...)
		})
	}
}

func TestBadUsage(t *testing.T) {
	model, ids := refDir(t, "llama-gqa"), write(t, t.TempDir(), "ids.jsonl", "{\"ids\":[1,2]}\n")
	dir := t.TempDir()
	yaml := write(t, dir, "run.yaml", plain(t, dir))
	for _, test := range []struct {
		args  string
		words []string
	}{
		{"train", []string{"-c"}},
		{"train -c", []string{"-c"}},
		{"train -c " + dir, []string{"directory"}},
		{"train -c " + dir + "/none.yaml", []string{"none.yaml", "no such file"}},
		{"train --bogus", []string{"--bogus"}},
		{"train extra -c " + yaml, []string{"extra"}},
		{"train --max-steps -1 -c " + yaml, []string{"--max-steps", "negative"}},
		{"train --stop-after -1 -c " + yaml, []string{"--stop-after", "negative"}},
		{"train --max-steps many -c " + yaml, []string{"--max-steps", "many"}},
		{"train --device cuda:first -c " + yaml, []string{"--device cuda:first", "cuda:N"}},
		{"plan --max-steps -1 -c " + yaml, []string{"--max-steps", "negative"}},
		{"plan", []string{"-c"}},
		{"score --model " + model, []string{"--ids", "--text"}},
		{"score --model " + model + " --ids " + ids + " --text " + ids, []string{"one of --ids", "--text"}},
		{"score --ids " + ids, []string{"--model"}},
		{"score --model none --ids " + ids, []string{"none", "no such file"}},
		{"score --model " + ids + " --ids " + ids, []string{"folder", "config.json"}},
		{"score --model " + model + " --ids none", []string{"none", "no such file"}},
		{"score --model " + model + " --ids " + dir, []string{"folder"}},
		{"score --device abacus --model " + model + " --ids " + ids, []string{"abacus", "auto, cpu, cuda"}},
		{"score --adapter none --model " + model + " --ids " + ids, []string{"none", "adapter_config.json"}},
		{"tokenize --model " + model, []string{"--text"}},
		{"tokenize --text " + ids, []string{"--model"}},
		{"render --model " + model, []string{"--messages"}},
		{"generate --model " + model, []string{"--prompt", "--prompt-ids"}},
		{"generate --prompt a --prompt-ids 1 --model " + model, []string{"one of"}},
		{"generate --prompt-ids= --model " + model, []string{"--prompt-ids", "empty"}},
		{"generate --prompt-ids 1,x --model " + model, []string{`"x"`}},
		{"generate --prompt a --max-new-tokens 0 --model " + model, []string{"--max-new-tokens"}},
		{"generate --prompt a --max-new-tokens -1 --model " + model, []string{"--max-new-tokens"}},
		{"generate --prompt a --temperature -1 --model " + model, []string{"--temperature"}},
		{"generate --prompt a --temperature NaN --model " + model, []string{"--temperature"}},
		{"generate --prompt a --top-p 1.5 --model " + model, []string{"--top-p"}},
		{"generate --prompt a --top-k -1 --model " + model, []string{"--top-k"}},
		{"data nope", []string{"nope"}},
		{"data lint", []string{"FILE"}},
		{"data lint none.jsonl", []string{"none.jsonl", "no such file"}},
		{"data lint " + dir, []string{"directory", "name a file"}},
		{"data lint --max-seq-length -5 " + ids, []string{"--max-seq-length"}},
		{"inspect", []string{"--model"}},
		{"inspect --model none", []string{"none", "no such file"}},
		{"bench nope", []string{"nope"}},
		{"bench train --size 5", []string{"--size", "10m", "60m"}},
		{"bench train --steps 0", []string{"--steps"}},
		{"bench train --method magic", []string{"--method", "magic"}},
		{"nosuchcommand", []string{"nosuchcommand"}},
		{"trian", []string{"trian", "did you mean train?"}},
		{"data lnt", []string{"lnt", "did you mean lint?"}},
	} {
		t.Run(test.args, func(t *testing.T) {
			out := lathe(t, strings.Fields(test.args)...)
			refusal(t, out, exitUsage, test.words...)
			if out.stdout != "" {
				t.Errorf("stdout: %q", out.stdout)
			}
		})
	}
	untouched(t, filepath.Join(dir, "out"))
}

// header rewrites a safetensors file's header and keeps its data.
func header(t *testing.T, path string, edit func(h map[string]map[string]any)) {
	t.Helper()
	data := read(t, path)
	n := binary.LittleEndian.Uint64(data)
	var h map[string]map[string]any
	if err := json.Unmarshal(data[8:8+n], &h); err != nil {
		t.Fatal(err)
	}
	edit(h)
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	write(t, filepath.Dir(path), filepath.Base(path), string(append(append(out, text...), data[8+n:]...)))
}

func TestBadModels(t *testing.T) {
	const weights, tensor = "model.safetensors", "model.layers.0.self_attn.q_proj.weight"
	cut := func(n int) func(*testing.T, string) {
		return func(t *testing.T, dir string) { write(t, dir, weights, string(read(t, dir, weights)[:n])) }
	}
	edited := func(edit func(h map[string]map[string]any)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { header(t, filepath.Join(dir, weights), edit) }
	}
	replaced := func(name, old, other string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			text := string(read(t, dir, name))
			if !strings.Contains(text, old) {
				t.Fatalf("%s has no %s", name, old)
			}
			write(t, dir, name, strings.ReplaceAll(text, old, other))
		}
	}
	added := func(name, member string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			write(t, dir, name, strings.Replace(string(read(t, dir, name)), "{", "{\n  "+member+",", 1))
		}
	}
	for _, test := range []struct {
		name, model string
		damage      func(t *testing.T, dir string)
		loads       bool // inspect and plan read headers alone, and find nothing
		words       []string
	}{
		{"weights cut in half", "llama-gqa", cut(200000), false, []string{weights, "truncated"}},
		{"header cut off", "llama-gqa", cut(1000), false, []string{weights, "truncated"}},
		{"no header", "llama-gqa", cut(5), false, []string{weights, "5 bytes"}},
		{"empty weights", "llama-gqa", cut(0), false, []string{weights, "0 bytes"}},
		{"header longer than the file", "llama-gqa", func(t *testing.T, dir string) {
			data := read(t, dir, weights)
			binary.LittleEndian.PutUint64(data, 1<<62)
			write(t, dir, weights, string(data))
		}, false, []string{weights, "header claims", "4611686018427387904"}},
		{"offsets beyond the file", "llama-gqa", edited(func(h map[string]map[string]any) {
			h[tensor]["data_offsets"] = []int{0, 1 << 50}
		}), false, []string{weights, tensor}},
		{"tensors overlap", "llama-gqa", edited(func(h map[string]map[string]any) {
			h[tensor]["data_offsets"] = []int{0, 64 * 64 * 4}
		}), false, []string{weights, "overlap"}},
		{"a size that overflows", "llama-gqa", edited(func(h map[string]map[string]any) {
			h[tensor]["shape"] = []int{1 << 40, 1 << 40}
		}), false, []string{weights, tensor}},
		{"another shape", "llama-gqa", edited(func(h map[string]map[string]any) {
			h[tensor]["shape"] = []int{32, 128}
		}), false, []string{tensor, "[32 128]", "[64 64]"}},
		{"unknown dtype", "llama-gqa", edited(func(h map[string]map[string]any) {
			h[tensor]["dtype"] = "F99"
		}), false, []string{tensor, "F99"}},
		{"missing tensor", "llama-gqa", replaced("config.json", `"num_hidden_layers": 2`, `"num_hidden_layers": 3`), false, []string{"model.layers.2", "missing"}},
		{"superfluous tensor", "llama-gqa", replaced("config.json", `"num_hidden_layers": 2`, `"num_hidden_layers": 1`), false, []string{"model.layers.1", "config.json"}},
		{"NaN in a weight", "llama-gqa", func(t *testing.T, dir string) {
			data := read(t, dir, weights)
			binary.LittleEndian.PutUint32(data[len(data)-4:], math.Float32bits(float32(math.NaN())))
			write(t, dir, weights, string(data))
		}, true, []string{"tensor model.", "NaN"}},
		{"missing shard", "llama-gqa-sharded", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "model-00002-of-00003.safetensors")); err != nil {
				t.Fatal(err)
			}
		}, false, []string{"model-00002-of-00003.safetensors", "missing", "download"}},
		{"unknown architecture", "llama-gqa", replaced("config.json", "LlamaForCausalLM", "FooForCausalLM"), false, []string{"FooForCausalLM", "known", "LlamaForCausalLM"}},
		{"config is no JSON", "llama-gqa", replaced("config.json", "{", "["), false, []string{"config.json"}},
		{"config without size", "llama-gqa", replaced("config.json", `"hidden_size"`, `"hidden_sise"`), false, []string{"config.json", "hidden_size"}},
		{"endless config", "llama-gqa", replaced("config.json", `"hidden_size": 64`, `"hidden_size": 640000000000`), false, []string{"hidden_size", "640000000000"}},
		{"unsupported option", "llama-gqa", added("config.json", `"residual_multiplier": 0.22`), false, []string{"config.json", "residual_multiplier", "0.22", "LlamaForCausalLM"}},
		{"another family's option", "llama-gqa", added("config.json", `"attn_logit_softcapping": 50.0`), false, []string{"config.json", "attn_logit_softcapping"}},
		{"experts", "llama-gqa", added("config.json", `"num_local_experts": 8`), false, []string{"config.json", "num_local_experts"}},
		{"a kind of layer", "llama-gqa", added("config.json", `"layer_types": ["full_attention", "linear_attention"]`), false, []string{"config.json", "layer_types", "linear_attention"}},
		{"unsupported rope", "llama-gqa", replaced("config.json", `"rope_type": "default"`, `"rope_type": "proportional"`), false, []string{"rope_type", "proportional"}},
		{"a window of nothing", "llama-gqa", added("config.json", `"sliding_window": -5`), false, []string{"sliding_window", "-5"}},
		{"GPTQ", "llama-gqa", added("config.json", `"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}`), false, []string{"quantization_config", "gptq"}},
		{"AWQ", "llama-gqa", added("config.json", `"quantization_config": {"quant_method": "awq", "bits": 4, "zero_point": true}`), false, []string{"quantization_config", "awq"}},
		{"8-bit", "llama-gqa", added("config.json", `"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": true}`), false, []string{"load_in_8bit"}},
		{"quantisation without a method", "llama-gqa", added("config.json", `"quantization_config": {"bits": 4}`), false, []string{"quantization_config"}},
		{"4-bit by name alone", "llama-gqa", added("config.json", `"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true, "_load_in_4bit": true, "bnb_4bit_quant_type": "nf4"}`), false, []string{"quantization_config", "no tensor is"}},
		{"heads that do not divide", "llama-gqa", replaced("config.json", `"num_key_value_heads": 2`, `"num_key_value_heads": 3`), false, []string{"num_key_value_heads"}},
		{"a size as text", "llama-gqa", replaced("config.json", `"hidden_size": 64`, `"hidden_size": "64"`), false, []string{"hidden_size", "whole number"}},
		{"index names a missing shard", "llama-gqa-sharded", replaced("model.safetensors.index.json", "model-00002-of-00003", "model-00009-of-00003"), false, []string{"model-00009-of-00003.safetensors", "missing"}},
		{"index leads out of the folder", "llama-gqa-sharded", replaced("model.safetensors.index.json", "model-00002-of-00003", "../model-00002-of-00003"), false, []string{"weight_map", "plain file name"}},
		{"index is no JSON", "llama-gqa-sharded", replaced("model.safetensors.index.json", "{", "["), false, []string{"model.safetensors.index.json"}},
		{"no weights", "llama-gqa", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, weights)); err != nil {
				t.Fatal(err)
			}
		}, false, []string{"*.safetensors", weights}},
		{"weights are a folder", "llama-gqa", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, weights)); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(dir, weights), 0o700); err != nil {
				t.Fatal(err)
			}
		}, false, []string{weights, "file"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			model, dir := copyModel(t, test.model), t.TempDir()
			test.damage(t, model)
			yaml := tiny(t, dir, config{"model_name_or_path": model}).save(t, dir, "run.yaml")
			ids := write(t, dir, "ids.jsonl", "{\"ids\":[1,2]}\n")
			for _, args := range [][]string{
				{"train", "--workspace", dir, "-c", yaml},
				{"score", "--model", model, "--ids", ids},
				{"generate", "--model", model, "--prompt-ids", "1,2"},
			} {
				refusal(t, lathe(t, args...), exitFailed, test.words...)
			}
			for _, args := range [][]string{{"inspect", "--model", model}, {"plan", "-c", yaml}} {
				if test.loads {
					ok(t, args...)
				} else {
					refusal(t, lathe(t, args...), exitFailed, test.words...)
				}
			}
			untouched(t, filepath.Join(dir, "out"))
		})
	}
}

// A model folder without a tokenizer scores, generates and trains ids; text is refused with the way out.
func TestModelWithoutTokenizer(t *testing.T) {
	model, dir := copyModel(t, "llama-gqa"), t.TempDir()
	if err := os.Remove(filepath.Join(model, "tokenizer.json")); err != nil {
		t.Fatal(err)
	}
	ids := write(t, dir, "ids.jsonl", "{\"ids\":[1,2]}\n")
	texts := write(t, dir, "texts.jsonl", "{\"text\":\"the cat\"}\n")
	ok(t, "score", "--model", model, "--ids", ids)
	ok(t, "generate", "--model", model, "--prompt-ids", "1,2", "--max-new-tokens", "2")
	if o := ok(t, "inspect", "--model", model, "--json").object(t); !strings.Contains(o["tokenizer"].(string), "none") {
		t.Errorf("inspect: %v", o)
	}
	train(t, dir, tiny(t, dir, config{"model_name_or_path": model}).save(t, dir, "run.yaml"))
	for _, args := range [][]string{
		{"score", "--model", model, "--text", texts},
		{"tokenize", "--model", model, "--text", texts},
		{"generate", "--model", model, "--prompt", "a"},
	} {
		refusal(t, lathe(t, args...), exitUsage, model, "tokenizer.json")
	}
	c := tiny(t, dir, config{"model_name_or_path": model, "train_file": write(t, dir, "rows.jsonl", "{\"prompt\":\"a\",\"completion\":\"b\"}\n")})
	refusal(t, lathe(t, "train", "--workspace", dir, "-c", c.save(t, dir, "text.yaml")), exitFailed, "tokenizer.json", "input_ids", "rows.jsonl:1")
}
