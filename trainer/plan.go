package trainer

import "lathe/compute"

// Plan is what a run will do and take, known before its first step.
type Plan struct {
	Steps         int     `json:"steps"`
	StepsPerEpoch int     `json:"steps_per_epoch"`
	Epochs        float64 `json:"epochs"`
	Rows          int     `json:"rows"`            // training samples
	EvalRows      int     `json:"eval_rows"`       // validation samples
	Tokens        int64   `json:"tokens"`          // of the whole run
	TrainedTokens int64   `json:"trained_tokens"`  // those with a label
	EpochTokens   int64   `json:"epoch_tokens"`    // of one epoch
	Longest       int     `json:"longest"`         // tokens of the longest sample
	CutRows       int     `json:"cut_rows"`        // samples cut by max_seq_length
	Parameters    int64   `json:"parameters"`      // of the whole model
	Trainable     int64   `json:"trainable"`       // of them trained
	CheckpointLen int64   `json:"checkpoint_size"` // bytes of one checkpoint

	Memory    MemoryPlan `json:"memory"`
	Available int64      `json:"available"` // bytes the device has for it
	Fits      bool       `json:"fits"`
	// SecondsEstimate is a forecast from the device's measured speed, 0 where that is not known.
	SecondsEstimate float64 `json:"seconds_estimate"`
	// Notices are options that this device or version honours in another way, each one line.
	Notices []string `json:"notices,omitempty"`
}

// MemoryPlan is device memory by owner, in bytes.
type MemoryPlan struct {
	Base        int64 `json:"base"`        // the model's frozen weights
	Adapters    int64 `json:"adapters"`    // trained weights
	Gradients   int64 `json:"gradients"`   // of them
	Optimizer   int64 `json:"optimizer"`   // both moments
	Activations int64 `json:"activations"` // tape and scratch of the longest micro-batch
	KV          int64 `json:"kv"`          // the playground's cache
	Workspace   int64 `json:"workspace"`   // the device's own
}

// Total is the sum.
func (m MemoryPlan) Total() int64 {
	return m.Base + m.Adapters + m.Gradients + m.Optimizer + m.Activations + m.KV + m.Workspace
}

// Environment is what a forecast needs to know of the machine.
type Environment struct {
	Device compute.Info
	// FLOPS is the measured speed of a float32 matrix product, in operations a second; 0 where not measured.
	FLOPS float64
}
