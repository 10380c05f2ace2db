package trainer

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lathe/model"
)

const least = "model_name_or_path: m\ntrain_file: t.jsonl\noutput_dir: out\n"

// full is the run.yaml of the command line's documentation, every key given.
const full = `
model_name_or_path: ./llama            # folder
train_file: [train.jsonl, /data/more.jsonl]
validation_file: heldout.jsonl
output_dir: runs/refund
method: qlora
adapter_name_or_path: null
load_in_4bit: true
bnb_4bit_quant_type: nf4
bnb_4bit_use_double_quant: true
bnb_4bit_compute_dtype: bfloat16
lora: {r: 8, lora_alpha: 16, target_modules: [q_proj, v_proj], lora_dropout: 0.1, bias: none, use_rslora: true}
adapter: {config: houlsby, reduction_factor: 16, non_linearity: relu}
prefix: {num_virtual_tokens: 20, prefix_projection: false, encoder_hidden_size: null}
optim: adamw
per_device_train_batch_size: 2
gradient_accumulation_steps: 8
num_train_epochs: 1.5
learning_rate: 1.0e-3
lr_scheduler_type: cosine
warmup_steps: 0
warmup_ratio: 0.1
weight_decay: 0.01
adam_beta1: 0.8
adam_beta2: 0.95
adam_epsilon: 1.0e-6
max_grad_norm: 0.5
fp16: false
bf16: true
gradient_checkpointing: true
max_seq_length: 512
packing: true
train_on_inputs: true
logging_steps: 5
eval_strategy: no
save_strategy: steps
save_steps: 10
save_total_limit: 2
early_stopping_patience: 0
seed: 7
data_seed: 8
shuffle: false
format: alpaca
columns: {prompt: question, response: answer}
`

func TestParseConfigReadsEveryKey(t *testing.T) {
	c, err := ParseConfig([]byte(full), "/yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.ModelNameOrPath, want.OutputDir = "/yaml/llama", "/yaml/runs/refund"
	want.TrainFile, want.ValidationFile = StringList{"/yaml/train.jsonl", "/data/more.jsonl"}, StringList{"/yaml/heldout.jsonl"}
	want.LoRA = LoRAConfig{R: 8, Alpha: 16, TargetModules: model.TargetModules{Names: []string{"q_proj", "v_proj"}}, Dropout: 0.1, Bias: "none", UseRSLoRA: true}
	want.BatchSize, want.GradAccum, want.Epochs, want.LearningRate = 2, 8, 1.5, 1e-3
	want.Schedule, want.WarmupRatio, want.WeightDecay = ScheduleCosine, 0.1, 0.01
	want.AdamBeta1, want.AdamBeta2, want.AdamEpsilon, want.MaxGradNorm = 0.8, 0.95, 1e-6, 0.5
	want.BF16, want.GradCheckpointing, want.MaxSeqLength, want.Packing, want.TrainOnInputs = true, true, 512, true, true
	want.LoggingSteps, want.EvalStrategy = 5, StrategyNo
	want.SaveStrategy, want.SaveSteps, want.SaveTotalLimit = StrategySteps, 10, 2
	want.Seed, want.DataSeed, want.Shuffle = 7, 8, false
	want.Format, want.Columns = "alpaca", ColumnNames{Prompt: "question", Response: "answer"}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestParseConfigDefaults(t *testing.T) {
	for _, test := range []struct {
		name, yaml string
		check      func(Config) bool
	}{
		{"qlora is 4-bit", least, func(c Config) bool { return c.Method == MethodQLoRA && c.LoadIn4bit }},
		{"lora is not", least + "method: lora", func(c Config) bool { return !c.LoadIn4bit }},
		{"lora on a 4-bit base", least + "method: lora\nload_in_4bit: true", func(c Config) bool { return c.LoadIn4bit }},
		{"full is not", least + "method: full", func(c Config) bool { return !c.LoadIn4bit }},
		{"no validation, no evaluation", least, func(c Config) bool { return c.EvalStrategy == StrategyNo }},
		{"the word no", least + "eval_strategy: no", func(c Config) bool { return c.EvalStrategy == StrategyNo }},
		{"the word no in quotes", least + "save_strategy: 'no'", func(c Config) bool { return c.SaveStrategy == StrategyNo }},
		{"validation by epoch", least + "validation_file: v", func(c Config) bool { return c.EvalStrategy == StrategyEpoch }},
		{"eval_steps means steps", least + "validation_file: v\neval_steps: 5", func(c Config) bool { return c.EvalStrategy == StrategySteps }},
		{"save_steps means steps", least + "save_steps: 5", func(c Config) bool { return c.SaveStrategy == StrategySteps }},
		{"max_steps -1 is transformers' unset", least + "max_steps: -1", func(c Config) bool { return c.MaxSteps == 0 }},
		{"an exponent without a point", least + "learning_rate: 2e-4", func(c Config) bool { return c.LearningRate == 2e-4 }},
		{"a whole number for a number", least + "max_grad_norm: 2", func(c Config) bool { return c.MaxGradNorm == 2 }},
		{"target_modules as one text", least + "lora: {target_modules: all-linear}", func(c Config) bool { return c.LoRA.TargetModules.Regex == "all-linear" }},
		{"all-linear in a list", least + "lora: {target_modules: [all-linear]}", func(c Config) bool { return c.LoRA.TargetModules.Regex == "all-linear" }},
		{"a name as one text", least + "lora: {target_modules: q_proj}", func(c Config) bool { return slices.Equal(c.LoRA.TargetModules.Names, []string{"q_proj"}) }},
		{"a path alone in a list", least + "lora: {target_modules: [self_attn.q_proj], exclude_modules: [layers.0.self_attn.q_proj]}", func(c Config) bool {
			return slices.Equal(c.LoRA.TargetModules.Names, []string{"self_attn.q_proj"}) && slices.Equal(c.LoRA.ExcludeModules.Names, []string{"layers.0.self_attn.q_proj"})
		}},
		{"a regular expression", least + `lora: {target_modules: '.*\.(q|o)_proj'}`, func(c Config) bool { return c.LoRA.TargetModules.Regex == `.*\.(q|o)_proj` }},
		{"a section keeps its other defaults", least + "lora: {r: 4}", func(c Config) bool { return c.LoRA.R == 4 && c.LoRA.Alpha == 32 }},
		{"YAML 1.1 booleans", least + "packing: yes\nshuffle: off", func(c Config) bool { return c.Packing && !c.Shuffle }},
		{"null keeps the default", least + "seed: null", func(c Config) bool { return c.Seed == 42 }},
		{"an anchor", "model_name_or_path: &m m\ntrain_file: *m\noutput_dir: out", func(c Config) bool { return c.TrainFile[0] == "/d/m" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := ParseConfig([]byte(test.yaml), "/d")
			if err != nil {
				t.Fatal(err)
			}
			if !test.check(c) {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for _, test := range []struct{ name, yaml, want string }{
		{"empty", "", "it is empty"},
		{"comment only", "# nothing\n", "it is empty"},
		{"not YAML", "a: [1", "not YAML"},
		{"a list", "- a\n- b", "line 1: run.yaml: wants keys and values, not a list"},
		{"no model", "train_file: t\noutput_dir: o", "model_name_or_path: missing"},
		{"no data", "model_name_or_path: m\noutput_dir: o", "train_file: missing"},
		{"no output", "model_name_or_path: m\ntrain_file: t", "output_dir: missing"},
		{"unknown key", least + "learning_rat: 1", "line 4: unknown key learning_rat: the nearest known one is learning_rate"},
		{"another tool's key", least + "micro_batch_size: 1", "the nearest known one is per_device_train_batch_size"},
		{"unknown key in a section", least + "lora: {alpha: 1}", "line 4: unknown key lora.alpha: the nearest known one is lora.lora_alpha"},
		{"a section's key outside", least + "lora_alpha: 1", "unknown key lora_alpha: it belongs under lora:"},
		{"a key inside a section", least + "lora:\n  r: 4\n  learning_rate: 1", "line 6: unknown key lora.learning_rate: it belongs at the left margin"},
		{"twice", least + "seed: 1\nseed: 2", "given twice, first in line 4"},
		{"text for a number", least + "learning_rate: fast", `line 4: learning_rate: wants a number, not the text "fast"`},
		{"quoted number", least + "seed: '1'", `line 4: seed: wants a whole number, not the text "1"`},
		{"fraction for a whole number", least + "max_steps: 1.5", "line 4: max_steps: wants a whole number, not 1.5"},
		{"overflow", least + "seed: 99999999999999999999", "line 4: seed: wants a whole number"},
		{"text for true", least + "packing: maybe", "line 4: packing: wants true or false"},
		{"list for text", least + "optim: [a]", "line 4: optim: wants text, not a list"},
		{"number for a section", least + "lora: 8", "line 4: lora: wants keys and values, not 8"},
		{"list of numbers", least + "lora: {target_modules: [1]}", "lora.target_modules: wants text or a list of texts, not 1"},
		{"false for no", least + "eval_strategy: false", `line 4: eval_strategy: wants text (the word no is written no, or "no"), not false`},
		{"negative rate", least + "learning_rate: -1", "line 4: learning_rate: -1"},
		{"infinite rate", least + "learning_rate: .inf", "line 4: learning_rate: +Inf"},
		{"NaN", least + "weight_decay: .nan", "line 4: weight_decay: NaN"},
		{"rank 0", least + "lora: {r: 0}", "line 4: lora.r: 0 is no rank"},
		{"dropout 1", least + "lora: {lora_dropout: 1}", "lora.lora_dropout: 1 is no probability"},
		{"bias", least + "lora: {bias: some}", `line 4: lora.bias: "some" is none of none, all, lora_only`},
		{"rank by module", least + "lora: {rank_pattern: {down_proj: 1.5}}", "lora.rank_pattern: down_proj: 1.5"},
		{"text for a rank", least + "lora: {rank_pattern: {down_proj: big}}", `lora.rank_pattern.down_proj: wants a number, not the text "big"`},
		{"list for a pattern", least + "lora: {alpha_pattern: [1]}", "lora.alpha_pattern: wants module names and numbers"},
		{"blocks by name", least + "lora: {layers_to_transform: [first]}", "lora.layers_to_transform: wants a whole number or a list of them"},
		{"list of blocks alone", least + "lora: {layers_pattern: layers}", "lora.layers_pattern: it needs lora.layers_to_transform"},
		{"near a new key", least + "lora: {use_dorra: true}", "the nearest known one is lora.use_dora"},
		{"kind of adapter", least + "method: adapter\nadapter: {config: lora}", `line 5: adapter.config: "lora" is none of houlsby, pfeiffer`},
		{"reduction", least + "method: adapter\nadapter: {reduction_factor: 0}", "adapter.reduction_factor: 0"},
		{"activation", least + "method: adapter\nadapter: {non_linearity: mish}", "adapter.non_linearity: \"mish\" is none of"},
		{"no virtual token", least + "method: prefix\nprefix: {num_virtual_tokens: 0}", "prefix.num_virtual_tokens: 0"},
		{"width of no projection", least + "method: prefix\nprefix: {encoder_hidden_size: 8}", "prefix_projection: true"},
		{"batch 0", least + "per_device_train_batch_size: 0", "line 4: per_device_train_batch_size: 0; give 1 or more"},
		{"accumulation 0", least + "gradient_accumulation_steps: 0", "gradient_accumulation_steps: 0"},
		{"epochs 0", least + "num_train_epochs: 0", "num_train_epochs: 0"},
		{"negative steps", least + "max_steps: -5", "max_steps: -5"},
		{"schedule", least + "lr_scheduler_type: polynomial", "none of linear, cosine"},
		{"method", least + "method: dora", "none of full, lora"},
		{"unknown optimiser", least + "optim: adamw_4bit", `optim: "adamw_4bit" is unknown; use adamw or adamw_8bit`},
		{"both halves", least + "fp16: true\nbf16: true", "fp16: bf16 is on too"},
		{"another quantisation", least + "bnb_4bit_quant_type: int4", "none of nf4, fp4"},
		{"qlora without 4 bits", least + "load_in_4bit: false", "line 4: load_in_4bit: method qlora"},
		{"full with 4 bits", least + "method: full\nload_in_4bit: true", "line 5: load_in_4bit: method full"},
		{"both kinds of validation", least + "validation_file: v\nvalidation_split: 0.1", "keep one of them"},
		{"share above 1", least + "validation_split: 5", "no share of the rows"},
		{"steps without eval_steps", least + "validation_file: v\neval_strategy: steps", "eval_steps: missing"},
		{"steps without save_steps", least + "save_strategy: steps", "save_steps: missing"},
		{"patience without evaluation", least + "early_stopping_patience: 2", "early_stopping_patience: it watches eval_loss"},
		{"sequence of 1", least + "max_seq_length: 1", "max_seq_length: 1"},
		{"format", least + "format: alpacca", "format: unknown format"},
		{"alias bomb", "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]", "unknown key a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseConfig([]byte(test.yaml), "/d")
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want %q in it", err, test.want)
			}
			if !errors.Is(err, ErrConfig) {
				t.Errorf("%q is no ErrConfig", err)
			}
		})
	}
}

func TestLoadConfigIsRelativeToTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run.yaml")
	if err := os.WriteFile(path, []byte(least), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	c, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.OutputDir != filepath.Join(dir, "out") {
		t.Errorf("output_dir %s", c.OutputDir)
	}
	if _, err := LoadConfig(filepath.Join(dir, "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// A key's JSON name, under which checkpoints and the session keep a config, is its name in run.yaml.
func TestConfigKeysHaveOneName(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" || name != f.Tag.Get("yaml") {
				t.Errorf("%s: yaml %q, json %q", f.Name, f.Tag.Get("yaml"), name)
			}
			if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[model.TargetModules]() {
				walk(f.Type)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
	keys := keysOf(reflect.TypeFor[Config]())
	for _, key := range resumeKeys {
		if !slices.Contains(keys, key) {
			t.Errorf("resumeKeys names %q, which is no key", key)
		}
	}
	for _, name := range otherNames {
		if !slices.Contains(keys, name) {
			t.Errorf("otherNames points to %q, which is no key", name)
		}
	}
}

// Whatever the bytes, a config is either valid or refused with an ErrConfig; nothing panics.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(least))
	f.Add([]byte(least + "lora: {r: 0}\neval_strategy: no"))
	f.Add([]byte("? {a: b}\n: c"))
	f.Add([]byte("<<: *x"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("--- !!binary x\n...\n---\nb: 1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data, "/d")
		if err != nil {
			if !errors.Is(err, ErrConfig) {
				t.Fatalf("%q is no ErrConfig", err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("parsed, but not valid: %v", err)
		}
	})
}
