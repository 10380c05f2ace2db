package trainer

import "time"

// Checkpoint is a folder output_dir/checkpoint-N, or output_dir itself once a run has ended.
type Checkpoint struct {
	Path  string    `json:"path"`
	Step  int       `json:"step"`
	Epoch float64   `json:"epoch"`
	Time  time.Time `json:"time"`
	Bytes int64     `json:"bytes"`
	Final bool      `json:"final,omitempty"` // output_dir itself
	Best  bool      `json:"best,omitempty"`  // the lowest eval_loss so far, when it was saved
	// EvalLoss is the last evaluation's, nil when there was none.
	EvalLoss *float64 `json:"eval_loss,omitempty"`
	// Problem says why it is not whole; empty for a usable one.
	Problem string `json:"problem,omitempty"`
}

// ListCheckpoints lists the checkpoints of an output_dir, oldest step first, whole or not.
func ListCheckpoints(outputDir string) ([]Checkpoint, error) { return nil, nil }
