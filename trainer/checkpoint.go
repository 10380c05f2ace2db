package trainer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Names in a checkpoint folder, beside the model's or the adapter's own files.
const (
	stateDir      = "trainer_state"
	stateFile     = "trainer_state/state.json"
	optimizerFile = "trainer_state/optimizer.safetensors"
	// adapterStateFile holds what an adapter's own files leave out: a prefix' projection.
	adapterStateFile = "trainer_state/adapter_state.safetensors"
	manifestFile     = "trainer_state/manifest.json"
	checkpointName   = "checkpoint-"
)

// Checkpoint is a folder output_dir/checkpoint-N, or output_dir itself once a run has ended.
type Checkpoint struct {
	Path  string    `json:"path"`
	Step  int       `json:"step"`
	Epoch float64   `json:"epoch"`
	Time  time.Time `json:"time"`
	Bytes int64     `json:"bytes"`
	Final bool      `json:"final,omitempty"` // output_dir itself
	Best  bool      `json:"best,omitempty"`  // the lowest eval_loss so far, when it was saved
	// EvalLoss is that of its step, nil when it was not evaluated there.
	EvalLoss *float64 `json:"eval_loss,omitempty"`
	// Problem says why it is not whole; empty for a usable one.
	Problem string `json:"problem,omitempty"`
}

// ListCheckpoints lists the checkpoints of an output_dir, oldest step first, whole or not. It compares sizes with the
// manifest, not contents: a resume reads those too. A folder that is not there has none.
func ListCheckpoints(outputDir string) ([]Checkpoint, error) {
	entries, err := os.ReadDir(outputDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	var list []Checkpoint
	for _, e := range entries {
		if step, ok := checkpointStep(e.Name()); ok && e.IsDir() {
			list = append(list, describeCheckpoint(filepath.Join(outputDir, e.Name()), step))
		}
		if e.Name() == stateDir && e.IsDir() {
			c := describeCheckpoint(outputDir, 0)
			c.Final = true
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b Checkpoint) int {
		if a.Step != b.Step {
			return a.Step - b.Step
		}
		return boolInt(a.Final) - boolInt(b.Final)
	})
	return list, nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// checkpointStep reads the N of checkpoint-N.
func checkpointStep(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, checkpointName)
	step, err := strconv.Atoi(digits)
	return step, ok && err == nil && step >= 0 && strconv.Itoa(step) == digits
}

func checkpointPath(outputDir string, step int) string {
	return filepath.Join(outputDir, checkpointName+strconv.Itoa(step))
}

// describeCheckpoint reads what a list shows; step is the folder's name's, for one that cannot be read.
func describeCheckpoint(path string, step int) Checkpoint {
	c := Checkpoint{Path: path, Step: step}
	if err := checkWhole(path, false); err != nil {
		c.Problem = err.Error()
		return c
	}
	s, err := readState(path)
	if err != nil {
		c.Problem = err.Error()
		return c
	}
	m, _ := readManifest(path)
	for _, f := range m.Files {
		c.Bytes += f.Size
	}
	c.Step, c.Epoch, c.Time = s.Step, s.Epoch, s.Saved
	if n := len(s.History.Evals); n > 0 && s.History.Evals[n-1].Step == s.Step {
		c.EvalLoss = &s.History.Evals[n-1].EvalLoss
		c.Best = s.Best != nil && s.Best.Step == s.Step
	}
	return c
}

// newestWhole is the whole checkpoint of the highest step by the sizes of its files, "" when there is none.
func newestWhole(outputDir string) string {
	list, err := ListCheckpoints(outputDir)
	if err != nil {
		return ""
	}
	for _, c := range slices.Backward(list) {
		if c.Problem == "" {
			return c.Path
		}
	}
	return ""
}

// manifest lists every file of a checkpoint. It is written last: a checkpoint is whole when it holds.
type manifest struct {
	Version int            `json:"version"`
	Files   []manifestItem `json:"files"`
}

type manifestItem struct {
	Name   string `json:"name"` // with slashes, relative to the checkpoint
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func readManifest(dir string) (manifest, error) {
	data, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return manifest{}, fmt.Errorf("it has no %s: its save did not end, or it is another program's", manifestFile)
	}
	if err != nil {
		return manifest{}, err
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return manifest{}, fmt.Errorf("%s is damaged: %w", manifestFile, err)
	}
	if m.Version != stateVersion {
		return manifest{}, fmt.Errorf("%s has version %d, this lathe reads %d", manifestFile, m.Version, stateVersion)
	}
	if len(m.Files) == 0 {
		return manifest{}, fmt.Errorf("%s lists no file", manifestFile)
	}
	return m, nil
}

// checkWhole compares a checkpoint with its manifest: names and sizes, and contents when deep.
func checkWhole(dir string, deep bool) error {
	m, err := readManifest(dir)
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		if !filepath.IsLocal(f.Name) {
			return fmt.Errorf("%s names %q, outside of the checkpoint", manifestFile, f.Name)
		}
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("%s is missing", f.Name)
		}
		if info.Size() != f.Size {
			return fmt.Errorf("%s has %d bytes, saved were %d", f.Name, info.Size(), f.Size)
		}
		if !deep {
			continue
		}
		sum, err := hashFile(path)
		if err != nil {
			return err
		}
		if sum != f.SHA256 {
			return fmt.Errorf("%s has other bytes than were saved", f.Name)
		}
	}
	return nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func readState(dir string) (state, error) {
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return state{}, fmt.Errorf("read checkpoint: %w", err)
	}
	s := state{Config: DefaultConfig()}
	if err := json.Unmarshal(data, &s); err != nil {
		return state{}, fmt.Errorf("read checkpoint: %s is damaged: %w", stateFile, err)
	}
	if s.Version != stateVersion {
		return state{}, fmt.Errorf("read checkpoint: %s has version %d, this lathe reads %d", stateFile, s.Version, stateVersion)
	}
	return s, nil
}

// ReadHistory reads what the run of a checkpoint had measured, for charts.
func ReadHistory(checkpoint string) (History, error) {
	s, err := readState(checkpoint)
	return s.History, err
}
