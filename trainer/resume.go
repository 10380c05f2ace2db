package trainer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lathe/compute"
	"lathe/model"
	"lathe/model/safetensors"
)

// ErrResume marks a resume that cannot go on with the same bits.
var ErrResume = errors.New("resume")

// resumed is where a run comes from; the zero value is a fresh run.
type resumed struct {
	path    string
	skipped []string // newer checkpoints that are not whole, and why
	tokens  int64    // of earlier processes
}

// findCheckpoint takes a checkpoint folder, or the newest whole checkpoint of an output_dir. Contents are compared with the
// manifest's hashes.
func findCheckpoint(path string) (resumed, error) {
	if _, ok := checkpointStep(filepath.Base(filepath.Clean(path))); ok {
		if _, err := os.Stat(path); err != nil {
			return resumed{}, fmt.Errorf("%w: %w", ErrResume, err)
		}
		if err := checkWhole(path, true); err != nil {
			return resumed{}, fmt.Errorf("%w: %s is not whole: %w: give its output_dir to take the newest whole one", ErrResume, path, err)
		}
		return resumed{path: path}, nil
	}
	if _, err := os.Stat(path); err != nil {
		return resumed{}, fmt.Errorf("%w: %w", ErrResume, err)
	}
	list, err := ListCheckpoints(path)
	if err != nil {
		return resumed{}, fmt.Errorf("%w: %w", ErrResume, err)
	}
	var r resumed
	for _, c := range slices.Backward(list) {
		problem := c.Problem
		if problem == "" {
			if err := checkWhole(c.Path, true); err != nil {
				problem = err.Error()
			}
		}
		if problem == "" {
			r.path = c.Path
			return r, nil
		}
		r.skipped = append(r.skipped, fmt.Sprintf("%s: %s", c.Path, problem))
	}
	if len(r.skipped) > 0 {
		return resumed{}, fmt.Errorf("%w: %s has no whole checkpoint: %s", ErrResume, path, r.skipped[0])
	}
	return resumed{}, fmt.Errorf("%w: %s has no checkpoint: leave --resume out to start from the beginning", ErrResume, path)
}

// resumeKeys are the keys that change what later steps compute. Paths may move, and logging, evaluation and saving may
// change between two processes.
var resumeKeys = []string{
	"method", "load_in_4bit", "bnb_4bit_quant_type", "bnb_4bit_use_double_quant", "bnb_4bit_compute_dtype", "lora", "adapter", "prefix", "optim",
	"per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "lr_scheduler_type", "weight_decay",
	"adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "fp16", "bf16", "max_seq_length", "packing",
	"train_on_inputs", "validation_split", "seed", "data_seed", "shuffle",
}

// checkResume compares a run with the checkpoint it is to go on from.
func (r *Run) checkResume(s state) error {
	now, then := configKeys(r.config), configKeys(s.Config)
	ranks := max(s.Ranks, 1)
	if ranks != r.ranks { // what counts is how many micro-batches a step has
		now[accumulation], then[accumulation] = nil, nil
	}
	for _, key := range resumeKeys {
		if section := Method(key); section == "lora" || section == MethodAdapter || section == MethodPrefix {
			if key != r.config.Method.section() {
				continue
			}
			if err := differ(key+".", mapKeys(now[key]), mapKeys(then[key])); err != nil {
				return err
			}
			continue
		}
		if err := differ("", map[string]any{key: now[key]}, map[string]any{key: then[key]}); err != nil {
			return err
		}
	}
	if s.Fingerprints.Model != r.state.Fingerprints.Model {
		return fmt.Errorf("%w: model_name_or_path: another model than the one the checkpoint was trained on", ErrResume)
	}
	if s.Fingerprints.Train != r.state.Fingerprints.Train {
		return fmt.Errorf("%w: train_file: its rows, tokenised, are not those the checkpoint was trained on: give the same file, tokenizer and template, or start anew with adapter_name_or_path", ErrResume)
	}
	old := newCourse(s.Config, s.StepsPerEpoch)
	key := "max_steps"
	if r.config.MaxSteps == 0 && s.Config.MaxSteps == 0 {
		key = "num_train_epochs"
	}
	constant := r.config.Schedule == ScheduleConstant || r.config.Schedule == ScheduleConstantWithWarmup
	if !constant && old.steps != r.course.steps && ranks != r.ranks {
		return fmt.Errorf("%w: the checkpoint was trained on %d devices, this run is on %d, so that it has %d steps for its %d, and the %s schedule depends on it: set %s so that it times the devices is %d, as it was",
			ErrResume, ranks, r.ranks, r.course.steps, old.steps, r.config.Schedule, accumulation, s.Config.GradAccum*ranks)
	}
	if !constant && old.steps != r.course.steps {
		return fmt.Errorf("%w: %s: the run now has %d steps, the checkpoint's had %d, and the %s schedule depends on it", ErrResume, key, r.course.steps, old.steps, r.config.Schedule)
	}
	if r.config.Schedule != ScheduleConstant && old.warmup != r.course.warmup {
		return fmt.Errorf("%w: warmup_steps: %d now, %d in the checkpoint", ErrResume, r.course.warmup, old.warmup)
	}
	return nil
}

// accumulation is the key that the number of devices multiplies.
const accumulation = "gradient_accumulation_steps"

// ranksNotice tells of a resume on another number of devices.
func (r *Run) ranksNotice(s state) {
	before := max(s.Ranks, 1)
	if before == r.ranks {
		return
	}
	text := fmt.Sprintf("the checkpoint was trained on %d devices, this run is on %d", before, r.ranks)
	if was, is := s.Config.GradAccum*before, r.accumulated(); was != is {
		r.notice(fmt.Sprintf("%s: a step now has %d micro-batches for %d before", text, is, was))
		return
	}
	r.notice(text + ": a step has the same rows as before, summed in another order")
}

func differ(section string, now, then map[string]any) error {
	all := maps.Clone(then) // a key at its default may be left out of one of them
	maps.Copy(all, now)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		a, errA := json.Marshal(now[key])
		b, errB := json.Marshal(then[key])
		if err := errors.Join(errA, errB); err != nil {
			return err
		}
		if string(a) != string(b) {
			return fmt.Errorf("%w: %s%s is %s, but the checkpoint was trained with %s: set it back, or start anew with adapter_name_or_path", ErrResume, section, key, a, b)
		}
	}
	return nil
}

func mapKeys(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// configKeys gives a config by its keys.
func configKeys(c Config) map[string]any {
	data, err := json.Marshal(c)
	if err != nil {
		return nil
	}
	var m map[string]any
	if json.Unmarshal(data, &m) != nil {
		return nil
	}
	return m
}

// restore takes over a checkpoint's state and the optimiser's moments; the weights have been loaded from it.
func (r *Run) restore(s state) error {
	if s.Fingerprints.Validation != r.state.Fingerprints.Validation && s.Best != nil {
		r.notice("the validation rows differ from those before the resume: the best eval_loss so far is forgotten")
		s.Best, s.Waited = nil, 0
	}
	if s.Device != r.state.Device {
		r.notice(fmt.Sprintf("the checkpoint was made on %s, this is %s: the last bits of later steps may differ", s.Device, r.state.Device))
	}
	r.ranksNotice(s)
	s.Ranks = noteRanks(r.ranks)
	s.Config, s.Fingerprints, s.Device = r.config, r.state.Fingerprints, r.state.Device
	s.Steps, s.StepsPerEpoch = r.plan.Steps, r.plan.StepsPerEpoch
	r.state = s
	r.resumed.tokens = s.Tokens
	if sameFolder(r.resumed.path, checkpointPath(r.config.OutputDir, s.Step)) {
		r.savedStep = s.Step
	}
	return r.restoreOptimizer(filepath.Join(r.resumed.path, optimizerFile))
}

func (r *Run) restoreOptimizer(path string) (err error) {
	set, err := safetensors.Open(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrResume, err)
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	for _, m := range r.optimizer.moments {
		saved, ok := set.Tensor(m.name)
		if !ok || saved.DType != momentDType(m.buffer) || len(saved.Data) != int(compute.ByteLen(m.buffer)) {
			return fmt.Errorf("%w: %s: %s is missing or has another shape", ErrResume, path, m.name)
		}
		r.dev.Upload(m.buffer, saved.Data)
	}
	return r.dev.Sync()
}

// steerFrom applies what a start changes in the run's course: rows to leave out and the scale of the rate. What the checkpoint
// remembers of them holds on.
func (r *Run) steerFrom(o Options) error {
	rows, err := r.findRows(o.SkipRows)
	if err != nil {
		return err
	}
	r.skips = newSkipList(r.state.SkipRows)
	r.skips.add(rows, r.state.Step+1)
	r.state.SkipRows = r.skips.rows
	if o.RateScale != 0 {
		r.state.RateScale = o.RateScale
	}
	if r.config.FP16 && r.state.Scaler == nil {
		r.state.Scaler = newLossScaler()
	}
	r.scaler = r.state.Scaler
	r.spikes = replaySpikes(r.state.History.Steps)
	for _, changed := range []struct {
		is   bool
		text string
	}{
		{len(r.skips.rows) > 0, fmt.Sprintf("left out: %s", strings.Join(nameRows(rowList(r.skips.rows)), ", "))},
		{r.state.rateScale() != 1, fmt.Sprintf("learning_rate is scaled by %g from here on", r.state.rateScale())},
	} {
		if changed.is {
			r.notice(changed.text)
		}
	}
	return nil
}

func rowList(rows []SkippedRow) []string {
	names := make([]string, len(rows))
	for i, row := range rows {
		names[i] = row.Row
	}
	return names
}

// fingerprintModel tells models apart by their configuration and by the ends of their weight files, without reading all of
// the weights.
func fingerprintModel(files *model.Files) (string, error) {
	h := sha256.New()
	head, err := json.Marshal(files.Config)
	if err != nil {
		return "", fmt.Errorf("fingerprint model: %w", err)
	}
	fmt.Fprintf(h, "%s\n%d %d\n", head, files.Parameters(), files.Bytes())
	weights, err := fs.Glob(files.FS(), "*.safetensors")
	if err != nil {
		return "", fmt.Errorf("fingerprint model: %w", err)
	}
	for _, name := range weights {
		if err := hashEnds(h, files.FS(), name); err != nil {
			return "", fmt.Errorf("fingerprint model: %w", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashEnds hashes a file's size and its first and last megabyte; all of it where it cannot be read from the middle.
func hashEnds(h io.Writer, fsys fs.FS, name string) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	at, ok := f.(io.ReaderAt)
	if !ok {
		_, err := io.Copy(h, f)
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	const part = 1 << 20
	fmt.Fprintf(h, "%d\n", info.Size())
	if _, err := io.Copy(h, io.NewSectionReader(at, 0, part)); err != nil {
		return err
	}
	_, err = io.Copy(h, io.NewSectionReader(at, max(part, info.Size()-part), part))
	return err
}
