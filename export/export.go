package export

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"lathe/datasets"
	"lathe/model"
)

// The formats of `lathe export`.
const (
	FormatPEFT   = "peft"   // the adapter's own files: Hugging Face PEFT, vLLM, the adapters library
	FormatMerged = "merged" // a whole model: transformers, vLLM, TensorRT-LLM
)

// Options says where an export goes and what it knows of where the adapter comes from.
type Options struct {
	// Out is the folder to make. It may exist if it is empty, and must not lie in the base's or the adapter's folder.
	Out string
	// Base is the base model's folder: its tokenizer, template, generation settings, licence and card are carried over.
	Base *model.Files
	// AdapterDir is where the adapter was read from; when a lathe run wrote it (checkpoint or output_dir), the card tells of
	// the run. Empty for an adapter that has no folder.
	AdapterDir string
	// Version is lathe's, for the card.
	Version string

	// DType is the type of a merged model's matrices: float32, bfloat16 or float16; empty for each tensor as its base stores
	// it.
	DType string
	// MaxShardBytes is the size of a merged model's shards, 0 for 5 GB.
	MaxShardBytes int64
	// Eval are rows over which a merged model's perplexity is measured; nil for the probe text.
	Eval []datasets.Sample
	// EvalName says in the card what Eval is.
	EvalName string

	// Trained, if set, is how the base was held when the adapter was trained, where the live model holds it otherwise: the
	// perplexity of base and adapter is then measured in that form too. It needs AdapterDir.
	Trained *model.LoadOptions

	// Release, if set, is called when the live model is not needed any more, before the merged one is read back: its memory
	// can be given to that.
	Release func()
	// Progress, if set, hears of long work: "write", "read back", "compare"; bytes or tokens done of total.
	Progress func(stage string, done, total int64)
}

// File is one file of an export.
type File struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// Report is what was written, and how it was found to be right.
type Report struct {
	Format    string `json:"format"`
	Out       string `json:"out"`
	Files     []File `json:"files"`
	BaseModel string `json:"base_model"`      // as adapter_config.json and the card name it
	Kind      string `json:"kind"`            // of the adapter: lora, dora, prefix, bottleneck
	DType     string `json:"dtype,omitempty"` // of a merged model's matrices
	Licence   string `json:"licence"`         // the base's
	// MaxLogitDifference is the largest difference of a logit on ProbeTokens tokens between the live model and what was read
	// back; Tolerance what is allowed, MaxLogit the largest logit itself.
	MaxLogitDifference float64 `json:"max_logit_difference"`
	Tolerance          float64 `json:"tolerance"`
	MaxLogit           float64 `json:"max_logit"`
	ProbeTokens        int     `json:"probe_tokens"`
	Verified           bool    `json:"verified"`

	Perplexity *Perplexity `json:"perplexity,omitempty"` // of a merged model
	// Warnings name readers that will refuse the folder as it is.
	Warnings []string `json:"warnings,omitempty"`
	Seconds  float64  `json:"seconds"`
}

// ErrRefused marks a request that cannot be met as it was made: a folder in the way, a method that cannot be merged.
var ErrRefused = errors.New("export refused")

type refusal struct{ error }

func (r refusal) Unwrap() error      { return r.error }
func (refusal) Is(target error) bool { return target == ErrRefused }

func refuse(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// PEFT writes the adapter of a view in its library's own files, with the base's tokenizer and a model card.
func PEFT(ctx context.Context, m *model.Model, o Options) (*Report, error) {
	return run(ctx, m, o, FormatPEFT, (*job).writeAdapter, (*job).verifyAdapter)
}

// Merged writes the base with the adapter of a view merged in, as a model folder of its own.
func Merged(ctx context.Context, m *model.Model, o Options) (*Report, error) {
	return run(ctx, m, o, FormatMerged, (*job).writeMerged, (*job).verifyMerged)
}

// job is one export under way.
type job struct {
	ctx     context.Context
	live    *model.Model
	options Options
	temp    string // the folder that becomes Out
	about   about
	probes  []probe
	report  *Report
}

// run makes a folder beside Out, has it written, read back and compared, and renames it.
func run(ctx context.Context, m *model.Model, o Options, format string, write, verify func(*job) error) (_ *Report, err error) {
	began := time.Now()
	if m.Adapter() == nil {
		return nil, refuse("export %s: this view of the model has no adapter", format)
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	j := &job{ctx: ctx, live: m, options: o, report: &Report{Format: format, Out: o.Out}}
	if j.about, err = describe(o); err != nil {
		return nil, fmt.Errorf("export %s: %w", format, err)
	}
	j.about.trained = m.Adapter().Parameters()
	j.report.BaseModel, j.report.Kind, j.report.Licence = j.about.baseName, j.about.kind, j.about.licence.String()
	folder, err := begin(o.Out, o.Base.Dir, o.AdapterDir)
	if err != nil {
		return nil, fmt.Errorf("export %s: %w", format, err)
	}
	defer func() { err = errors.Join(err, folder.abandon()) }()
	j.temp = folder.temp
	if err := j.work(write, verify); err != nil {
		return nil, fmt.Errorf("export %s: %w", format, err)
	}
	if err := folder.commit(); err != nil {
		return nil, fmt.Errorf("export %s: %w", format, err)
	}
	j.report.Seconds = time.Since(began).Seconds()
	return j.report, nil
}

func (j *job) work(write, verify func(*job) error) error {
	if err := j.kindOf(); err != nil {
		return err
	}
	if j.report.Format == FormatMerged && !j.about.mergeable() {
		return refuse("a %s adapter cannot be merged into weights: it is computed beside them; use `lathe export peft`", j.about.kind)
	}
	if err := j.measureLive(); err != nil {
		return err
	}
	if err := write(j); err != nil {
		return err
	}
	if err := carryOver(j.options.Base.FS(), j.temp); err != nil {
		return err
	}
	if err := verify(j); err != nil {
		return err
	}
	if err := j.writeCard(); err != nil {
		return err
	}
	return j.listFiles()
}

// listFiles fills the report with what lies in the folder.
func (j *job) listFiles() error {
	return filepath.WalkDir(j.temp, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(j.temp, path)
		j.report.Files = append(j.report.Files, File{Name: filepath.ToSlash(name), Bytes: info.Size()})
		return err
	})
}
