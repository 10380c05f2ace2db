package trainer

import (
	"lathe/datasets"
	"lathe/model"
)

// Method says what is trained.
type Method string

// The methods of run.yaml.
const (
	MethodFull    Method = "full"    // every weight
	MethodLoRA    Method = "lora"    // LoRA on a plain base model
	MethodQLoRA   Method = "qlora"   // LoRA on a 4-bit base model
	MethodAdapter Method = "adapter" // Houlsby or Pfeiffer bottlenecks
	MethodPrefix  Method = "prefix"  // prefix tuning
)

// Strategy says when to evaluate or to save.
type Strategy string

// The strategies of transformers.
const (
	StrategyNo    Strategy = "no"
	StrategySteps Strategy = "steps"
	StrategyEpoch Strategy = "epoch"
)

// Schedule is the learning rate's course, by transformers' names.
type Schedule string

// The schedules.
const (
	ScheduleLinear             Schedule = "linear"
	ScheduleCosine             Schedule = "cosine"
	ScheduleConstant           Schedule = "constant"
	ScheduleConstantWithWarmup Schedule = "constant_with_warmup"
)

// Config is run.yaml. Its keys are those of transformers, PEFT and TRL where these have one. Paths in a Config are as the
// program sees them: [LoadConfig] makes a file's relative paths relative to that file's folder.
type Config struct {
	ModelNameOrPath string      `yaml:"model_name_or_path" json:"model_name_or_path"`
	TrainFile       StringList  `yaml:"train_file" json:"train_file"`
	ValidationFile  StringList  `yaml:"validation_file" json:"validation_file,omitempty"`
	ValidationSplit float64     `yaml:"validation_split" json:"validation_split,omitempty"`
	Format          string      `yaml:"format" json:"format,omitempty"`
	Columns         ColumnNames `yaml:"columns" json:"columns,omitzero"`
	OutputDir       string      `yaml:"output_dir" json:"output_dir"`

	Method            Method        `yaml:"method" json:"method"`
	AdapterNameOrPath string        `yaml:"adapter_name_or_path" json:"adapter_name_or_path,omitempty"`
	LoadIn4bit        bool          `yaml:"load_in_4bit" json:"load_in_4bit"`
	QuantType         string        `yaml:"bnb_4bit_quant_type" json:"bnb_4bit_quant_type"`
	DoubleQuant       bool          `yaml:"bnb_4bit_use_double_quant" json:"bnb_4bit_use_double_quant"`
	QuantComputeDType string        `yaml:"bnb_4bit_compute_dtype" json:"bnb_4bit_compute_dtype"`
	LoRA              LoRAConfig    `yaml:"lora" json:"lora"`
	Adapter           AdapterConfig `yaml:"adapter" json:"adapter"`
	Prefix            PrefixConfig  `yaml:"prefix" json:"prefix"`

	Optim             string   `yaml:"optim" json:"optim"`
	BatchSize         int      `yaml:"per_device_train_batch_size" json:"per_device_train_batch_size"`
	EvalBatchSize     int      `yaml:"per_device_eval_batch_size" json:"per_device_eval_batch_size,omitempty"`
	GradAccum         int      `yaml:"gradient_accumulation_steps" json:"gradient_accumulation_steps"`
	Epochs            float64  `yaml:"num_train_epochs" json:"num_train_epochs"`
	MaxSteps          int      `yaml:"max_steps" json:"max_steps,omitempty"`
	LearningRate      float64  `yaml:"learning_rate" json:"learning_rate"`
	Schedule          Schedule `yaml:"lr_scheduler_type" json:"lr_scheduler_type"`
	WarmupSteps       int      `yaml:"warmup_steps" json:"warmup_steps"`
	WarmupRatio       float64  `yaml:"warmup_ratio" json:"warmup_ratio,omitempty"`
	WeightDecay       float64  `yaml:"weight_decay" json:"weight_decay"`
	AdamBeta1         float64  `yaml:"adam_beta1" json:"adam_beta1"`
	AdamBeta2         float64  `yaml:"adam_beta2" json:"adam_beta2"`
	AdamEpsilon       float64  `yaml:"adam_epsilon" json:"adam_epsilon"`
	MaxGradNorm       float64  `yaml:"max_grad_norm" json:"max_grad_norm"`
	FP16              bool     `yaml:"fp16" json:"fp16"`
	BF16              bool     `yaml:"bf16" json:"bf16"`
	GradCheckpointing bool     `yaml:"gradient_checkpointing" json:"gradient_checkpointing"`
	MaxSeqLength      int      `yaml:"max_seq_length" json:"max_seq_length"`
	Packing           bool     `yaml:"packing" json:"packing"`
	TrainOnInputs     bool     `yaml:"train_on_inputs" json:"train_on_inputs"`
	LoggingSteps      int      `yaml:"logging_steps" json:"logging_steps"`
	EvalStrategy      Strategy `yaml:"eval_strategy" json:"eval_strategy"`
	EvalSteps         int      `yaml:"eval_steps" json:"eval_steps,omitempty"`
	SaveStrategy      Strategy `yaml:"save_strategy" json:"save_strategy"`
	SaveSteps         int      `yaml:"save_steps" json:"save_steps,omitempty"`
	SaveTotalLimit    int      `yaml:"save_total_limit" json:"save_total_limit,omitempty"`
	Patience          int      `yaml:"early_stopping_patience" json:"early_stopping_patience"`
	Seed              int64    `yaml:"seed" json:"seed"`
	DataSeed          int64    `yaml:"data_seed" json:"data_seed"`
	Shuffle           bool     `yaml:"shuffle" json:"shuffle"`
}

// StringList is one string or a list of them.
type StringList []string

// IntList is one whole number or a list of them.
type IntList []int

// LoRAConfig is PEFT's LoraConfig.
type LoRAConfig struct {
	R             int                 `yaml:"r" json:"r"`
	Alpha         float64             `yaml:"lora_alpha" json:"lora_alpha"`
	TargetModules model.TargetModules `yaml:"target_modules" json:"target_modules,omitzero"` // none: PEFT's default
	Dropout       float64             `yaml:"lora_dropout" json:"lora_dropout"`
	Bias          string              `yaml:"bias" json:"bias"` // none, all or lora_only
	UseRSLoRA     bool                `yaml:"use_rslora" json:"use_rslora"`
	UseDoRA       bool                `yaml:"use_dora" json:"use_dora,omitempty"`
	// ModulesToSave are modules of which the adapter trains copies of its own, whole.
	ModulesToSave     StringList          `yaml:"modules_to_save" json:"modules_to_save,omitempty"`
	EnsureWeightTying bool                `yaml:"ensure_weight_tying" json:"ensure_weight_tying,omitempty"`
	ExcludeModules    model.TargetModules `yaml:"exclude_modules" json:"exclude_modules,omitzero"`
	LayersToTransform IntList             `yaml:"layers_to_transform" json:"layers_to_transform,omitempty"`
	LayersPattern     StringList          `yaml:"layers_pattern" json:"layers_pattern,omitempty"`
	RankPattern       model.Pattern       `yaml:"rank_pattern" json:"rank_pattern,omitempty"`
	AlphaPattern      model.Pattern       `yaml:"alpha_pattern" json:"alpha_pattern,omitempty"`
}

// AdapterConfig describes bottleneck adapters (method adapter).
type AdapterConfig struct {
	Config          string  `yaml:"config" json:"config"` // houlsby or pfeiffer
	ReductionFactor float64 `yaml:"reduction_factor" json:"reduction_factor"`
	NonLinearity    string  `yaml:"non_linearity" json:"non_linearity"`
	Dropout         float64 `yaml:"dropout" json:"dropout,omitempty"`
	LeaveOut        IntList `yaml:"leave_out" json:"leave_out,omitempty"` // blocks without adapters
}

// PrefixConfig describes prefix tuning (method prefix).
type PrefixConfig struct {
	VirtualTokens     int  `yaml:"num_virtual_tokens" json:"num_virtual_tokens"`
	Projection        bool `yaml:"prefix_projection" json:"prefix_projection"`
	EncoderHiddenSize int  `yaml:"encoder_hidden_size" json:"encoder_hidden_size,omitempty"`
}

// ColumnNames maps the fields that datasets knows to the names that a file uses, as LLaMA-Factory's `columns`.
type ColumnNames struct {
	Prompt   string `yaml:"prompt" json:"prompt,omitempty"`
	Query    string `yaml:"query" json:"query,omitempty"`
	Response string `yaml:"response" json:"response,omitempty"`
	System   string `yaml:"system" json:"system,omitempty"`
	History  string `yaml:"history" json:"history,omitempty"`
	Messages string `yaml:"messages" json:"messages,omitempty"`
	Tools    string `yaml:"tools" json:"tools,omitempty"`
	Text     string `yaml:"text" json:"text,omitempty"`
	Chosen   string `yaml:"chosen" json:"chosen,omitempty"`
	Rejected string `yaml:"rejected" json:"rejected,omitempty"`
}

// Columns is what [datasets.Open] wants.
func (c ColumnNames) Columns() datasets.Columns { return datasets.Columns(c) }

// DefaultConfig holds the value of every key that a run.yaml leaves out.
func DefaultConfig() Config {
	return Config{
		Method:            MethodQLoRA,
		LoadIn4bit:        true,
		QuantType:         "nf4",
		DoubleQuant:       true,
		QuantComputeDType: "bfloat16",
		LoRA:              LoRAConfig{R: 16, Alpha: 32, Dropout: 0.05, Bias: "none"},
		Adapter:           AdapterConfig{Config: "houlsby", ReductionFactor: 16, NonLinearity: "relu"},
		Prefix:            PrefixConfig{VirtualTokens: 20},
		Optim:             "adamw",
		BatchSize:         4,
		GradAccum:         4,
		Epochs:            3,
		LearningRate:      2e-4,
		Schedule:          ScheduleLinear,
		AdamBeta1:         0.9,
		AdamBeta2:         0.999,
		AdamEpsilon:       1e-8,
		MaxGradNorm:       1,
		MaxSeqLength:      1024,
		LoggingSteps:      1,
		EvalStrategy:      StrategyEpoch,
		SaveStrategy:      StrategyEpoch,
		Seed:              42,
		DataSeed:          42,
		Shuffle:           true,
	}
}

// Evaluates reports whether the run has data to evaluate on and a strategy to do so.
func (c Config) Evaluates() bool {
	return c.EvalStrategy != StrategyNo && (len(c.ValidationFile) > 0 || c.ValidationSplit > 0)
}
