package parity

import (
	"lathe/compute"
	"lathe/model"
)

// family is a model folder of testdata/ref.
type family struct {
	name   string
	folder string
	// only names the columns that the folder is there for; empty is all. why says where the others are measured.
	only []string
	// lacks names the runs that were not dumped for it: full, lora or qlora.
	lacks []string
	why   string
}

var forwardOnly = []string{columnLogits, columnLogProbs, columnLoss, columnGreedy}

const (
	whyVariant = "differs from its family's first row in an option of the forward pass; this is measured there and in the rows of other families with that option"
	whyStored  = "the same weights stored in another way; what follows from them is measured above"
)

var families = []family{
	{name: "LLaMA (grouped queries)", folder: "llama-gqa"},
	{name: "LLaMA, biases, tied head", folder: "llama-bias-tied", lacks: []string{"full", "qlora"}, why: whyVariant},
	{name: "LLaMA, rope linear", folder: "llama-linear-rope", only: forwardOnly, why: whyVariant},
	{name: "LLaMA, rope dynamic", folder: "llama-dynamic-rope"},
	{name: "LLaMA, rope yarn", folder: "llama-yarn-rope"},
	{name: "LLaMA, rope llama3", folder: "llama3-rope", only: forwardOnly, why: whyVariant},
	{name: "LLaMA, config of transformers 4", folder: "llama-gqa-v4", only: forwardOnly, why: whyStored},
	{name: "LLaMA, three shards", folder: "llama-gqa-sharded", only: forwardOnly, why: whyStored},
	{name: "LLaMA, bfloat16", folder: "llama-gqa-bf16", only: forwardOnly, why: whyVariant},
	{name: "LLaMA, float16", folder: "llama-gqa-fp16", only: forwardOnly, why: whyVariant},
	{name: "LLaMA, stored as NF4, double", folder: "llama-gqa-nf4", only: forwardOnly, why: whyStored},
	{name: "LLaMA, stored as NF4", folder: "llama-gqa-nf4-single", only: forwardOnly, why: whyStored},
	{name: "LLaMA, stored as FP4", folder: "llama-gqa-fp4", only: forwardOnly, why: whyStored},
	{name: "Mistral, sliding window", folder: "mistral-window"},
	{name: "Gemma", folder: "gemma"},
	{name: "Gemma 2", folder: "gemma2"},
	{name: "Gemma 3", folder: "gemma3"},
	{name: "GPT-NeoX, parallel", folder: "gpt-neox"},
	{name: "GPT-NeoX, sequential", folder: "gpt-neox-seq"},
	{name: "Falcon 7B", folder: "falcon-7b"},
	{name: "Falcon 40B", folder: "falcon-40b"},
	{name: "Falcon RW", folder: "falcon-rw"},
	{name: "Qwen2", folder: "qwen2"},
	{name: "Qwen3", folder: "qwen3"},
	{name: "Phi-3", folder: "phi3"},
	{name: "Phi-3, longrope", folder: "phi3-longrope", only: forwardOnly, why: whyVariant},
	{name: "StarCoder2", folder: "starcoder2"},
}

// method is a training run of testdata/ref, and the adapter that it trains.
type method struct {
	name    string
	base    string // folder of the model
	run     string // train-RUN
	adapter string // adapters/ADAPTER-random; "" for full
	scores  string // key and file of the log-probabilities with that adapter
	file    string
	options model.LoadOptions
	encoder bool // a prefix with projection, whose start lies beside PEFT's files
	bf16    bool // products in bfloat16
	// why explains the columns that it does not have, and read the first part of those of files alone.
	why, read map[string]string
}

const (
	whyFull       = "a full run trains the model itself: there is no adapter, and nothing to merge; its files stand below"
	whyOptimizer  = "the optimiser alone is another; gradients, files and merging are the method's own"
	whySameFile   = "the file is that of the method over a plain base, measured there"
	whyPrefix     = "a prefix is no change of weights: PEFT cannot merge it either"
	whyNotRounded = "no run under autocast was dumped of it"
	whyRounded8   = "a rounding flips codes of 8-bit moments, so that no two runs in bfloat16 are near each other"
	whyBottleneck = "a bottleneck has a non-linearity: the adapters library cannot merge it either"
)

var (
	nf4       = model.LoadOptions{Quant4: true}
	nf4Double = model.LoadOptions{Quant4: true, DoubleQuant: true}
	fp4       = model.LoadOptions{Quant4: true, QuantType: compute.FP4}
	fp4Double = model.LoadOptions{Quant4: true, QuantType: compute.FP4, DoubleQuant: true}
)

var methods = []method{
	{name: "full", base: "llama-gqa", run: "full", why: map[string]string{columnAdapter: whyFull, columnMerged: whyFull}},
	{name: "LoRA", base: "llama-gqa", run: "lora", adapter: "lora", scores: "lora"},
	{name: "LoRA, bias all", base: "llama-bias-tied", run: "lora-bias-all", adapter: "lora-bias-all", scores: "lora-bias-all"},
	{name: "LoRA, bias lora_only", base: "llama-bias-tied", run: "lora-bias-only", adapter: "lora-bias-only", scores: "lora-bias-only"},
	{name: "LoRA, rsLoRA", base: "llama-gqa", run: "lora-qv-rslora", adapter: "lora-qv-rslora", scores: "lora-qv-rslora"},
	{name: "LoRA, modules_to_save", base: "llama-gqa", run: "lora-modules", adapter: "lora-modules", scores: "lora-modules"},
	{
		name: "QLoRA, NF4, double", base: "llama-gqa", run: "qlora", adapter: "lora", scores: "nf4_double+lora", options: nf4Double,
		read: map[string]string{columnMerged: whyNoMerge},
	},
	{
		name: "QLoRA, NF4", base: "llama-gqa", run: "qlora-single", adapter: "lora", options: nf4,
		read: map[string]string{columnAdapter: whySameFile, columnMerged: whyNoMerge},
	},
	{
		name: "QLoRA, FP4, double", base: "llama-gqa", run: "qlora-fp4", adapter: "lora", options: fp4Double,
		read: map[string]string{columnAdapter: whySameFile, columnMerged: whyNoMerge},
	},
	{
		name: "QLoRA, FP4", base: "llama-gqa", run: "qlora-fp4-single", adapter: "lora", options: fp4,
		read: map[string]string{columnAdapter: whySameFile, columnMerged: whyNoMerge},
	},
	{name: "DoRA", base: "llama-gqa", run: "dora", adapter: "dora", scores: "dora"},
	{
		name: "QDoRA", base: "llama-gqa", run: "qdora", adapter: "dora", scores: "nf4_double+dora", options: nf4Double,
		read: map[string]string{columnMerged: whyNoMerge},
	},
	{
		name: "Houlsby", base: "llama-gqa", run: "houlsby", adapter: "houlsby", scores: "houlsby", file: bottleneckScores,
		why: map[string]string{columnMerged: whyBottleneck, columnBF16: whyNotRounded},
	},
	{
		name: "Pfeiffer", base: "llama-gqa", run: "pfeiffer", adapter: "pfeiffer", scores: "pfeiffer", file: bottleneckScores,
		why: map[string]string{columnMerged: whyBottleneck, columnBF16: whyNotRounded},
	},
	{
		name: "prefix", base: "llama-gqa", run: "prefix", adapter: "prefix", scores: "prefix",
		why: map[string]string{columnMerged: whyPrefix},
	},
	{
		name: "prefix, projection", base: "llama-gqa", run: "prefix-projection", adapter: "prefix-projection", scores: "prefix-projection", encoder: true,
		why: map[string]string{columnMerged: whyPrefix},
	},
	{name: "LoRA, adamw_8bit", base: "llama-gqa", run: "lora-adamw8", adapter: "lora-wide", why: whyAdamW8},
	{name: "full, adamw_8bit", base: "llama-gqa", run: "full-adamw8", why: whyAdamW8},
}

const bottleneckScores = "scores-bottleneck.safetensors"

var whyAdamW8 = map[string]string{columnLoss: whyOptimizer, columnGradients: whyOptimizer, columnAdapter: whyOptimizer, columnMerged: whyOptimizer, columnBF16: whyRounded8}
