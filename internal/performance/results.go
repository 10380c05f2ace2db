// Package performance holds what `lathe bench` and tools/peers measure, the files under docs/performance that keep it, one a
// machine and day, and the document that is made of them.
package performance

// Peak is what the machine reached in the same run, the better of its start and its end.
type Peak struct {
	FMA           float64 `json:"fma_gflops"`                // in registers
	SGEMM         float64 `json:"sgemm_gflops"`              // this device's float32 product of square matrices
	BF16          float64 `json:"bf16_gflops,omitempty"`     // the same of bfloat16 operands, 0 where the device has none
	BF16Dot       float64 `json:"bf16_dot_gflops,omitempty"` // of bfloat16 operands in registers, 0 where the tier has no instruction
	CopyBandwidth float64 `json:"copy_gb_s"`                 // bytes read and written
	ReadBandwidth float64 `json:"read_gb_s"`
}

// Better is the better of two measurements of each figure: other work on a machine only ever makes them smaller.
func (p Peak) Better(o Peak) Peak {
	return Peak{
		FMA: max(p.FMA, o.FMA), SGEMM: max(p.SGEMM, o.SGEMM), BF16: max(p.BF16, o.BF16),
		CopyBandwidth: max(p.CopyBandwidth, o.CopyBandwidth), ReadBandwidth: max(p.ReadBandwidth, o.ReadBandwidth),
	}
}

// Products is the peak of products in a type.
func (p Peak) Products(dtype string) float64 {
	if dtype == BFloat16 {
		return p.BF16
	}
	return p.SGEMM
}

// The types in which products are computed.
const (
	Float32  = "float32"
	BFloat16 = "bfloat16"
)

// The things that are measured.
const (
	WhatTrain     = "train"
	WhatGenerate  = "generate"
	WhatTokenize  = "tokenize"
	WhatLint      = "lint"
	WhatScore     = "score"
	WhatStart     = "start"
	WhatSweep     = "sweep"
	WhatWorkbench = "workbench"
)

// Head opens every result.
type Head struct {
	What    string `json:"what"`
	Date    string `json:"date"`
	Device  string `json:"device"`
	Tier    string `json:"tier"`
	Threads int    `json:"threads"`
	Peak    Peak   `json:"peak"`
	// PeakMemory is the process's high water in bytes, 0 where the system does not tell.
	PeakMemory int64 `json:"peak_memory"`
}

// Operation is a row of a break-down: what one operation took of the time that was measured.
type Operation struct {
	Name    string  `json:"name"`
	Shape   string  `json:"shape,omitempty"`
	Calls   int64   `json:"calls"`
	Seconds float64 `json:"seconds"`
	FLOPs   float64 `json:"flops"`
	Bytes   float64 `json:"bytes"` // each buffer once where it is read and once where it is written
	GFLOPs  float64 `json:"gflops"`
	GBs     float64 `json:"gb_s"`
	Share   float64 `json:"share"` // of the time
}

// Between names what no operation took: the host's own work.
const Between = "between operations"

// Train is training steps of a model through the real trainer.
type Train struct {
	Head
	Method          string  `json:"method"`
	DType           string  `json:"dtype"` // of the products, as the device computed them
	Rows            string  `json:"rows"`  // full, ragged, or the name of a file
	Parameters      int64   `json:"parameters"`
	Batch           int     `json:"batch"`  // rows of an optimiser step
	Length          int     `json:"length"` // tokens of a row; with ragged rows the mean
	Steps           int     `json:"steps"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	TrainedShare    float64 `json:"trained_share"` // of the tokens, those with a label
	MFLOPPerToken   float64 `json:"mflop_per_token"`
	GFLOPs          float64 `json:"gflops"`
	Share           float64 `json:"share_of_sgemm_peak"`
	ShareFMA        float64 `json:"share_of_fma_peak"` // which no product can reach
	// ShareProducts is GFLOPs of the peak of products of DType.
	ShareProducts float64     `json:"share_of_product_peak"`
	PlannedBytes  int64       `json:"planned_memory"`
	Padding       float64     `json:"padding"` // tokens computed of no row, of all: batches are flat
	Operations    []Operation `json:"operations"`
}

// Generate is greedy decoding of one sequence, of many together, and reading a prompt.
type Generate struct {
	Head
	Parameters       int64   `json:"parameters"`
	In4bit           bool    `json:"load_in_4bit"`
	Tokens           int     `json:"tokens"`
	PromptTokens     int     `json:"prompt_tokens"`
	TokensPerSecond  float64 `json:"tokens_per_second"`
	PromptPerSecond  float64 `json:"prompt_tokens_per_second"`
	Batch            int     `json:"batch"`
	BatchedPerSecond float64 `json:"batched_tokens_per_second"`
	OneByOne         float64 `json:"one_by_one_tokens_per_second"`
	BatchedRatio     float64 `json:"batched_ratio"`
	// Prompts of SharedPrompt tokens, the first SharedPrefix of which all have in common, each continued by SharedTokens.
	SharedPrefix    int         `json:"shared_prefix_tokens,omitempty"`
	SharedPrompt    int         `json:"shared_prompt_tokens,omitempty"`
	SharedTokens    int         `json:"shared_tokens,omitempty"`
	SharedPerSecond float64     `json:"shared_tokens_per_second,omitempty"` // new ones, with the time that prompts took
	SharedOneByOne  float64     `json:"shared_one_by_one_tokens_per_second,omitempty"`
	SharedRatio     float64     `json:"shared_ratio,omitempty"`
	BytesPerToken   float64     `json:"bytes_per_token"` // that operations read and write, each buffer once
	Share           float64     `json:"share_of_read_peak"`
	Operations      []Operation `json:"operations"`
}

// Score is log-probabilities of rows, many together and one by one.
type Score struct {
	Head
	Parameters      int64       `json:"parameters"`
	Rows            int         `json:"rows"`
	TokensPerSecond float64     `json:"tokens_per_second"`
	OneByOne        float64     `json:"one_by_one_tokens_per_second"`
	Ratio           float64     `json:"batched_ratio"`
	MFLOPPerToken   float64     `json:"mflop_per_token"`
	GFLOPs          float64     `json:"gflops"`
	Share           float64     `json:"share_of_sgemm_peak"`
	Operations      []Operation `json:"operations"`
}

// Text is work on text of one core: tokenising, or linting beside a bare walk over the JSON.
type Text struct {
	Head
	Source      string  `json:"source"`    // file, or "generated"
	Tokenizer   string  `json:"tokenizer"` // empty for lint
	Bytes       int64   `json:"bytes"`
	Tokens      int64   `json:"tokens,omitempty"`
	MBPerSecond float64 `json:"mb_per_second"`
	AllCores    float64 `json:"all_cores_mb_per_second"`
	Walk        float64 `json:"walk_mb_per_second"` // of jsontext over the same bytes
	OfWalk      float64 `json:"of_walk"`
}

// Start is from the start of a process on: the end of step 1 less a steady step, and the workbench's first frame.
type Start struct {
	Head
	Method        string  `json:"method"`
	Parameters    int64   `json:"parameters"`
	FirstStep     float64 `json:"first_step_seconds"`
	SteadyStep    float64 `json:"steady_step_seconds"`
	Seconds       float64 `json:"start_seconds"` // FirstStep less SteadyStep
	AgainSeconds  float64 `json:"start_again_seconds"`
	FrameSeconds  float64 `json:"first_frame_seconds,omitempty"`
	VersionSecond float64 `json:"version_seconds"` // of `lathe --version`: a process that does nothing
}

// Sweep is the cost of a token over a size: tokens of a row, or parameters of the model.
type Sweep struct {
	Head
	Over   string       `json:"over"` // tokens or parameters
	Method string       `json:"method"`
	Rounds int          `json:"rounds,omitempty"` // over all points, of which the fastest of each is kept; one where it is not said
	Points []SweepPoint `json:"points"`
}

// SweepPoint is one size.
type SweepPoint struct {
	Tokens     int     `json:"tokens"`
	Parameters int64   `json:"parameters"`
	Steps      int     `json:"steps"`
	Micros     float64 `json:"microseconds_per_token"`
	Attention  float64 `json:"attention_microseconds_per_token"`
	MFLOP      float64 `json:"mflop_per_token"`
	GFLOPs     float64 `json:"gflops"`
}

// Workbench is one run that trains by turns without a screen and with the workbench open, in which somebody scrolls a long file.
type Workbench struct {
	Head
	Size   string `json:"size"`   // of the model
	Length int    `json:"length"` // tokens of a step
	// Rows of the file that is scrolled through, and keys that arrive a second.
	Rows int `json:"rows"`
	Keys int `json:"keys_per_second"`
	// Headless and Open are tokens a second without and with the screen: medians over the phases of one run, Pairs with the screen and one
	// more without.
	Headless float64 `json:"headless_tokens_per_second"`
	Open     float64 `json:"open_tokens_per_second"`
	Pairs    int     `json:"pairs"`
	// Ratio is the median of the phases with the screen, each as a part of the mean of its two neighbours; Lowest and Highest are their
	// range. The median that no noise would hide lies between From and To with 95% certainty.
	Ratio   float64 `json:"ratio"`
	From    float64 `json:"ratio_from"`
	To      float64 `json:"ratio_to"`
	Lowest  float64 `json:"ratio_lowest"`
	Highest float64 `json:"ratio_highest"`
	// BytesPerSecond is what the screen wrote while it was open.
	BytesPerSecond float64 `json:"bytes_per_second"`
}
