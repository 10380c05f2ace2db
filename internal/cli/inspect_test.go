package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// findings are the health lines of a part, joined.
func (o object) findings(t *testing.T, part string) string {
	t.Helper()
	list, ok := o["health"].([]any)
	if !ok {
		t.Fatalf("no health: %v", o)
	}
	var lines []string
	for _, f := range list {
		if f := object(f.(map[string]any)); f["part"] == part {
			lines = append(lines, fmt.Sprintf("%s: %s", f["level"], f["text"]))
		}
	}
	return strings.Join(lines, "\n")
}

func inspected(t *testing.T, dir string) object {
	t.Helper()
	o := ok(t, "inspect", "--model", dir, "--json").object(t)
	fits(t, ok(t, "inspect", "--model", dir).stdout)
	return o
}

// fits fails where a page is wider than 80 columns or holds what a terminal would obey.
func fits(t *testing.T, page string) {
	t.Helper()
	for line := range strings.Lines(page) {
		if ansi.StringWidth(line) > pageWidth || strings.ContainsAny(line, "\x1b\r\t") || !utf8.ValidString(line) {
			t.Errorf("a line of %d columns: %q", ansi.StringWidth(line), line)
		}
	}
}

// edit changes a JSON file's keys; nil takes one out.
func edit(t *testing.T, path string, changes object) {
	t.Helper()
	fields := object{}
	if err := json.Unmarshal(read(t, path), &fields); err != nil {
		t.Fatal(err)
	}
	for key, value := range changes {
		if fields[key] = value; value == nil {
			delete(fields, key)
		}
	}
	data, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Dir(path), filepath.Base(path), string(data))
}

// A sound folder: every key, and nothing to complain of but what is missing.
func TestInspectSound(t *testing.T) {
	model := copyModel(t, "llama-gqa")
	write(t, model, "README.md", "---\nlicense: llama3.1\n---\n")
	o := inspected(t, model)
	o.wants(t, "inspect", "dtypes:o shards:n num_attention_heads:n num_key_value_heads:n head_dim:n licence_details:o tokenizer_health:o template_health:o memory_by_rows:o memory_checkpointed:o memory_free:n batch_tokens:n health:l")
	object(o["tokenizer_health"].(map[string]any)).wants(t, "tokenizer_health", "kind:s vocab_size:n model_vocab_size:n special_tokens:n bos:o eos:o pad:o adds_bos:b stop_ids:l beyond_embedding:l")
	object(o["template_health"].(map[string]any)).wants(t, "template_health", "source:s names:l ends_with:s stops:b masked:b generation:b prefix:b system:b")
	object(o["licence_details"].(map[string]any)).wants(t, "licence_details", "id:s name:s source:s known:b terms:l")
	template := object(o["template_health"].(map[string]any))
	if template["ends_with"] != "</s>" || template["stops"] != true || template["masked"] != true || template["prefix"] != true {
		t.Errorf("template: %v", template)
	}
	if o["licence"] != "Llama 3.1 Community License" || o["tokenizer_health"].(map[string]any)["kind"] != "BPE, byte-level" {
		t.Errorf("%v", o)
	}
	if list := o["health"].([]any); len(list) != 0 {
		t.Errorf("health: %v", list)
	}
	rows := object(o["memory_by_rows"].(map[string]any)["lora"].(map[string]any))
	if rows["1"] != o["memory"].(map[string]any)["lora"] || rows["8"].(float64) <= rows["1"].(float64) {
		t.Errorf("memory: %v", o["memory_by_rows"])
	}
	page := ok(t, "inspect", "--model", model).stdout
	for _, word := range []string{"700 million", "§2", "Built with Llama", "nothing wrong was found", "where generation stops", "8 rows"} {
		if !strings.Contains(page, word) {
			t.Errorf("the page does not say %q:\n%s", word, page)
		}
	}
}

// Faults of tokenizer and template that train badly in silence.
func TestInspectFindsFaults(t *testing.T) {
	const template = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
	for _, test := range []struct {
		name   string
		damage func(dir string)
		part   string
		words  []string
	}{
		{"a template that ends no turn", func(dir string) {
			edit(t, filepath.Join(dir, "tokenizer_config.json"), object{"chat_template": template})
		}, "template", []string{"warn", "no special token ends an answer"}},
		{"generation stops elsewhere", func(dir string) {
			edit(t, filepath.Join(dir, "generation_config.json"), object{"eos_token_id": 5})
		}, "tokenizer", []string{"warn", `eos is "</s>" (2)`, "generation stops at [5] of generation_config.json"}},
		{"an eos that the vocabulary does not have", func(dir string) {
			edit(t, filepath.Join(dir, "tokenizer_config.json"), object{"eos_token": "<|gone|>"})
		}, "tokenizer", []string{`eos_token "<|gone|>"`, "not in the vocabulary"}},
		{"tokens beyond the embedding", func(dir string) {
			edit(t, filepath.Join(dir, "tokenizer_config.json"), object{"added_tokens_decoder": object{"272": object{"content": "<|new|>", "special": true}}})
		}, "tokenizer", []string{"the embedding has 272 rows", "(<|new|>)"}},
		{"no template", func(dir string) {
			edit(t, filepath.Join(dir, "tokenizer_config.json"), object{"chat_template": nil})
		}, "template", []string{"info", "rows of messages are refused", "plain text"}},
		{"a template that does not parse", func(dir string) {
			edit(t, filepath.Join(dir, "tokenizer_config.json"), object{"chat_template": "{% for m in messages %}"})
		}, "template", []string{"error"}},
		{"a template that refuses", func(dir string) {
			edit(t, filepath.Join(dir, "tokenizer_config.json"), object{"chat_template": "{{ raise_exception('not today') }}"})
		}, "template", []string{"error", "not today"}},
		{"no system messages", func(dir string) {
			edit(t, filepath.Join(dir, "tokenizer_config.json"), object{"chat_template": "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + template})
		}, "template", []string{"takes no system message"}},
		{"pad is eos", func(dir string) {
			edit(t, filepath.Join(dir, "tokenizer_config.json"), object{"pad_token": "</s>"})
		}, "tokenizer", []string{"info", "pad is eos"}},
		{"no tokenizer", func(dir string) {
			if err := os.Remove(filepath.Join(dir, "tokenizer.json")); err != nil {
				t.Fatal(err)
			}
		}, "tokenizer", []string{"warn", "no tokenizer.json"}},
		{"a tokenizer that is no JSON", func(dir string) { write(t, dir, "tokenizer.json", "{") }, "tokenizer", []string{"error", "tokenizer.json"}},
		{"card and licence differ", func(dir string) {
			write(t, dir, "README.md", "---\nlicense: mit\n---\n")
			write(t, dir, "LICENSE", "Gemma Terms of Use\n")
		}, "licence", []string{"warn", "MIT", "Gemma", "LICENSE"}},
		{"no licence", func(string) {}, "licence", []string{"warn", "does not state one"}},
		{"a licence that a terminal would obey", func(dir string) {
			write(t, dir, "README.md", "---\nlicense: \"\\e[2J\\e]0;gone\\a\"\n---\n")
		}, "licence", []string{"not known here"}},
		{"an unknown licence", func(dir string) { write(t, dir, "LICENSE", "House rules\n") }, "licence", []string{"info", "not known here", "LICENSE"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			model := copyModel(t, "llama-gqa")
			test.damage(model)
			text := inspected(t, model).findings(t, test.part)
			for _, word := range test.words {
				if !strings.Contains(text, word) {
					t.Errorf("health of the %s does not say %q: %s", test.part, word, text)
				}
			}
		})
	}
}

// A template whose turns end with a token at which generation does not stop, as base models with a chat template have it.
func TestInspectTemplateEnd(t *testing.T) {
	model := copyModel(t, "llama-gqa")
	config := object{}
	if err := json.Unmarshal(read(t, model, "tokenizer.json"), &config); err != nil {
		t.Fatal(err)
	}
	special := "" // one of the tokenizer's that is neither eos nor bos nor pad
	for _, a := range config["added_tokens"].([]any) {
		if a := object(a.(map[string]any)); !slices.Contains([]any{"<s>", "</s>", "<pad>"}, a["content"]) {
			special = a["content"].(string)
		}
	}
	edit(t, filepath.Join(model, "tokenizer_config.json"), object{
		"chat_template": "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}" + special + "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}",
	})
	o := inspected(t, model)
	template := object(o["template_health"].(map[string]any))
	if template["ends_with"] != special || template["stops"] != false || template["generation"] != false || template["masked"] != true {
		t.Errorf("%v", template)
	}
	if text := o.findings(t, "template"); !strings.Contains(text, "generation does not stop") || !strings.Contains(text, special) {
		t.Errorf("%s", text)
	}
	write(t, model, "chat_template.jinja", "{% for m in messages %}[{{ m['role'] }}]{% generation %}{{ m['content'] }}</s>{% endgeneration %}{% endfor %}")
	if err := os.Mkdir(filepath.Join(model, "additional_chat_templates"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(model, "additional_chat_templates"), "tool_use.jinja", "")
	template = object(inspected(t, model)["template_health"].(map[string]any))
	if template["source"] != "chat_template.jinja" || fmt.Sprint(template["names"]) != "[tool_use]" || template["ends_with"] != "</s>" {
		t.Errorf("%v", template)
	}
}

// A published tokenizer with its published template: Phi-3.5 ends an answer with <|end|>, and generation stops there because
// its generation_config.json says so.
func TestInspectPublishedTemplate(t *testing.T) {
	shared := filepath.Join("..", "..", "..", "shared", "data")
	tokenizer, err := os.ReadFile(filepath.Join(shared, "tokenizers", "phi3.json"))
	if err != nil {
		t.Skipf("skipped: the published tokenizers are not here: %v", err)
	}
	model := copyModel(t, "phi3")
	write(t, model, "tokenizer.json", string(tokenizer))
	write(t, model, "tokenizer_config.json", `{"bos_token":"<s>","eos_token":"<|endoftext|>","pad_token":"<|endoftext|>"}`)
	write(t, model, "chat_template.jinja", string(read(t, shared, "chat-templates", "microsoft-Phi-3.5-mini-instruct.jinja")))
	for eos, stops := range map[string]bool{"[32007, 32001, 32000]": true, "32000": false} {
		write(t, model, "generation_config.json", `{"eos_token_id":`+eos+`}`)
		o := inspected(t, model)
		template := object(o["template_health"].(map[string]any))
		if template["ends_with"] != "<|end|>" || template["stops"] != stops || template["masked"] != true {
			t.Errorf("eos_token_id %s: %v", eos, template)
		}
		if warned := strings.Contains(o.findings(t, "template"), "<|end|> (32007), at which generation does not stop"); warned == stops {
			t.Errorf("eos_token_id %s: %s", eos, o.findings(t, "template"))
		}
	}
}

// Broken folders are told of as far as they can be read; the command fails with the fault in one line.
func TestInspectBroken(t *testing.T) {
	for _, test := range []struct {
		name, model string
		damage      func(dir string)
		words       []string
		parameters  float64
	}{
		{"missing shard", "llama-gqa-sharded", func(dir string) {
			if err := os.Remove(filepath.Join(dir, "model-00002-of-00003.safetensors")); err != nil {
				t.Fatal(err)
			}
		}, []string{"1 of 3 files", "model-00002-of-00003.safetensors"}, 102720},
		{"cut shard", "llama-gqa-sharded", func(dir string) {
			if err := os.Truncate(filepath.Join(dir, "model-00001-of-00003.safetensors"), 5000); err != nil {
				t.Fatal(err)
			}
		}, []string{"model-00001-of-00003.safetensors"}, 102720},
		{"damaged index", "llama-gqa-sharded", func(dir string) { write(t, dir, "model.safetensors.index.json", "{") }, []string{"index.json"}, 102720},
		{"unknown architecture", "llama-gqa", func(dir string) {
			edit(t, filepath.Join(dir, "config.json"), object{"architectures": []string{"FooForCausalLM"}, "model_type": "foo"})
		}, []string{"FooForCausalLM"}, 102720},
		{"no weights", "llama-gqa", func(dir string) {
			if err := os.Remove(filepath.Join(dir, "model.safetensors")); err != nil {
				t.Fatal(err)
			}
		}, []string{"safetensors"}, 102720},
	} {
		t.Run(test.name, func(t *testing.T) {
			model := copyModel(t, test.model)
			test.damage(model)
			out := lathe(t, "inspect", "--model", model, "--json")
			refusal(t, out, exitFailed)
			o := out.object(t)
			text := o.findings(t, "weights")
			for _, word := range test.words {
				if !strings.Contains(text, word) {
					t.Errorf("health does not say %q: %s", word, text)
				}
			}
			if o["parameters"] != test.parameters || !strings.Contains(o["tokenizer"].(string), "272 tokens") || o["num_hidden_layers"] != 2.0 {
				t.Errorf("what can still be said: %v", o)
			}
			fits(t, lathe(t, "inspect", "--model", model).stdout)
		})
	}
	dir := t.TempDir()
	write(t, dir, "config.json", "{")
	refusal(t, lathe(t, "inspect", "--model", dir), exitFailed, "config.json")
	refusal(t, lathe(t, "inspect", "--model", t.TempDir()), exitUsage, "config.json")
	refusal(t, lathe(t, "inspect"), exitUsage, "--model DIR")
}

// Adapters: what the configuration and the header say, with the base where it is here.
func TestInspectAdapter(t *testing.T) {
	adapter := refDir(t, "llama-gqa", "adapters", "lora-random")
	for _, args := range [][]string{{"--model", adapter}, {"--adapter", adapter}} {
		o := ok(t, append([]string{"inspect", "--json"}, args...)...).object(t)
		a := object(o["adapter"].(map[string]any))
		a.wants(t, "adapter", "dir:s kind:s base_model_name_or_path:s r:n lora_alpha:n target_modules:s parameters:n dtype:s bytes:n file:s tensors:n warnings:l")
		if a["kind"] != "lora" || a["r"] != 8.0 || a["parameters"] != 15616.0 || a["bytes"] != 4*15616.0 || a["tensors"] != 28.0 {
			t.Errorf("%v", a)
		}
		if text := o.findings(t, "adapter"); !strings.Contains(text, "llama-gqa") || !strings.Contains(text, "--model DIR") {
			t.Errorf("a base that is not here: %s", text)
		}
		fits(t, ok(t, append([]string{"inspect"}, args...)...).stdout)
	}
	o := ok(t, "inspect", "--model", refDir(t, "llama-gqa"), "--adapter", adapter, "--json").object(t)
	if o["family"] != "llama" || o["adapter"].(map[string]any)["kind"] != "lora" {
		t.Errorf("with its base: %v", o)
	}
	dir := t.TempDir()
	write(t, dir, "adapter_config.json", `{"peft_type":"LORA","r":64,"use_dora":true,"target_modules":["q_proj"],"base_model_name_or_path":"x/y"}`)
	out := lathe(t, "inspect", "--adapter", dir, "--json")
	refusal(t, out, exitFailed, "adapter_model.safetensors")
	if text := out.object(t).findings(t, "adapter"); !strings.Contains(text, "DoRA") || !strings.Contains(text, "--max-lora-rank 64") {
		t.Errorf("%s", text)
	}
	write(t, dir, "adapter_model.bin", "")
	refusal(t, lathe(t, "inspect", "--adapter", dir), exitFailed, "adapter_model.bin", "pickle")
	refusal(t, lathe(t, "inspect", "--adapter", filepath.Join(dir, "none")), exitUsage, "none", "no such file")
}
