package trainer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lathe/model"
)

// savedRun is an output_dir with the checkpoints 2, 4 and 6 and no final state.
func savedRun(t *testing.T) Config {
	t.Helper()
	c := tinyConfig(t)
	c.MaxSteps, c.SaveStrategy, c.SaveSteps = 6, StrategySteps, 2
	train(t, c, Options{})
	if err := os.RemoveAll(filepath.Join(c.OutputDir, stateDir)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCheckpointHasWhatOthersRead(t *testing.T) {
	c := savedRun(t)
	dir := checkpointPath(c.OutputDir, 4)
	for _, name := range []string{"adapter_config.json", "adapter_model.safetensors", stateFile, optimizerFile, manifestFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	dev := newDevice(t)
	files, err := model.Open(c.ModelNameOrPath)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	base, err := model.Load(dev, files, model.LoadOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Free()
	adapter, err := model.LoadAdapter(base, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer adapter.Free()
	if got := adapter.Config().(model.LoRAConfig); got.R != c.LoRA.R || got.Alpha != c.LoRA.Alpha || got.Dropout != c.LoRA.Dropout {
		t.Errorf("adapter_config.json says %+v", got)
	}
	h, err := ReadHistory(dir)
	if err != nil || len(h.Steps) != 4 || h.Steps[3].Step != 4 {
		t.Errorf("history %+v, %v", h, err)
	}
}

// The final state of a full fine-tuning is a model folder that opens as one.
func TestFullModelIsSavedAsAModel(t *testing.T) {
	c := tinyConfig(t)
	c.Method, c.MaxSteps = MethodFull, 2
	train(t, c, Options{})
	files, err := model.Open(c.OutputDir)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if _, err := files.Tokenizer(); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(c.OutputDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), checkpointName) || strings.HasPrefix(e.Name(), tempPrefix) {
			t.Errorf("%s is left, though save_strategy is no", e.Name())
		}
	}
}

// Whatever befalls the newest checkpoint, a resume says so and goes on from the one before.
func TestDamagedCheckpointIsSkipped(t *testing.T) {
	for _, test := range []struct {
		name, want string
		damage     func(dir string) error
	}{
		{"truncated weights", "adapter_model.safetensors has", func(dir string) error { return os.Truncate(filepath.Join(dir, "adapter_model.safetensors"), 100) }},
		{"other bytes", "optimizer.safetensors has other bytes", func(dir string) error { return flipByte(filepath.Join(dir, optimizerFile)) }},
		{"missing file", "state.json is missing", func(dir string) error { return os.Remove(filepath.Join(dir, stateFile)) }},
		{"no manifest", "has no trainer_state/manifest.json", func(dir string) error { return os.Remove(filepath.Join(dir, manifestFile)) }},
		{"empty manifest", "manifest.json is damaged", func(dir string) error { return os.Truncate(filepath.Join(dir, manifestFile), 0) }},
		{"foreign manifest", "lists no file", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, manifestFile), []byte(`{"version":1}`), 0o600)
		}},
		{"later version", "has version 9", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, manifestFile), []byte(`{"version":9}`), 0o600)
		}},
		{"path out of the folder", "outside of the checkpoint", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, manifestFile), []byte(`{"version":1,"files":[{"name":"../../x"}]}`), 0o600)
		}},
		{"empty folder", "has no trainer_state/manifest.json", func(dir string) error {
			return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := savedRun(t)
			newest := checkpointPath(c.OutputDir, 6)
			if err := test.damage(newest); err != nil {
				t.Fatal(err)
			}
			found, err := findCheckpoint(c.OutputDir)
			if err != nil {
				t.Fatal(err)
			}
			if found.path != checkpointPath(c.OutputDir, 4) {
				t.Errorf("resumes from %s", found.path)
			}
			if len(found.skipped) != 1 || !strings.Contains(found.skipped[0], test.want) || !strings.Contains(found.skipped[0], "checkpoint-6") {
				t.Errorf("skipped: %q, want %q in it", found.skipped, test.want)
			}
			if _, err := findCheckpoint(newest); !errors.Is(err, ErrResume) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("asked for by name: %v", err)
			}
		})
	}
}

func flipByte(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[len(data)-5] ^= 1
	return os.WriteFile(path, data, 0o600)
}

func TestResumeFromNothing(t *testing.T) {
	empty := t.TempDir()
	for _, path := range []string{empty, filepath.Join(empty, "none"), filepath.Join(empty, "checkpoint-3")} {
		if _, err := findCheckpoint(path); !errors.Is(err, ErrResume) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestLeftoversOfAKilledSave(t *testing.T) {
	c := savedRun(t)
	at := func(name string) string { return filepath.Join(c.OutputDir, name) }
	for _, name := range []string{".tmp-checkpoint-8/trainer_state", ".tmp-trainer_state", ".tmp-checkpoint-2"} {
		if err := os.MkdirAll(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(at(".tmp-adapter_model.safetensors"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// killed between the two renames of a checkpoint that replaces one: only the old one is there
	if err := os.Rename(at("checkpoint-6"), at(".old-checkpoint-6")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(at("mine"), 0o700); err != nil { // not ours: stays
		t.Fatal(err)
	}
	notices, err := cleanLeftovers(c.OutputDir)
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(notices, "\n"); strings.Count(text, "removed .tmp-") != 3 || !strings.Contains(text, "put back checkpoint-6") {
		t.Errorf("%s", text)
	}
	entries, err := os.ReadDir(c.OutputDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s is still there", e.Name())
		}
	}
	if err := checkWhole(at("checkpoint-6"), true); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(at("mine")); err != nil {
		t.Error(err)
	}
}

// A run that starts anew where an earlier one lies overwrites nothing, and a resume cannot mix them up.
func TestFreshRunMovesAnEarlierOneAside(t *testing.T) {
	c := savedRun(t)
	c.MaxSteps, c.SaveSteps = 1, 1
	events := train(t, c, Options{})
	found := false
	for _, n := range only[Notice](events) {
		found = found || strings.Contains(n.Message, "earlier-1")
	}
	if !found {
		t.Error("no notice names the folder")
	}
	if list, err := ListCheckpoints(filepath.Join(c.OutputDir, "earlier-1")); err != nil || len(list) != 3 {
		t.Errorf("%+v, %v", list, err)
	}
	train(t, c, Options{}) // once more, with a final state to move
	if list, err := ListCheckpoints(filepath.Join(c.OutputDir, "earlier-2")); err != nil || len(list) != 2 || !list[1].Final || list[1].Problem != "" {
		t.Errorf("%+v, %v", list, err)
	}
}

// A resume into another output_dir leaves its checkpoint where it is, and moves aside what lies in the new folder.
func TestResumeIntoAnotherFolder(t *testing.T) {
	old, c := savedRun(t), savedRun(t)
	c.MaxSteps = 6
	events := train(t, c, Options{Resume: checkpointPath(old.OutputDir, 4)})
	if steps := only[StepDone](events); len(steps) != 2 || steps[0].Step != 5 {
		t.Errorf("%+v", steps)
	}
	for dir, want := range map[string]int{old.OutputDir: 3, filepath.Join(c.OutputDir, "earlier-1"): 3, c.OutputDir: 2} {
		if list, err := ListCheckpoints(dir); err != nil || len(list) != want {
			t.Errorf("%s: %d checkpoints, want %d (%v)", dir, len(list), want, err)
		}
	}
}

func TestTwoRunsDoNotShareAFolder(t *testing.T) {
	c := tinyConfig(t)
	r, err := Prepare(t.Context(), newDevice(t), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Prepare(t.Context(), newDevice(t), c, Options{})
	if err == nil || !strings.Contains(err.Error(), "another run is writing") {
		t.Errorf("%v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	train(t, c, Options{})
}

func TestOutputThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := tinyConfig(t)
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		c.OutputDir = dir
		if _, err := Prepare(t.Context(), newDevice(t), c, Options{}); err == nil || !strings.Contains(err.Error(), "output_dir: ") {
			t.Errorf("%s: %v", dir, err)
		}
	}
	_, err := claimOutput(t.TempDir(), 1<<62)
	if err == nil || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("a checkpoint larger than the disk: %v", err)
	}
}

// Whatever a checkpoint's JSON files hold, looking at it gives a checkpoint or a problem.
func FuzzCheckpointFiles(f *testing.F) {
	f.Add([]byte(`{"version":1,"files":[{"name":"trainer_state/state.json","size":2}]}`), []byte(`{}`))
	f.Add([]byte(`{"version":1,"files":[{"name":"trainer_state/state.json","size":39}]}`), []byte(`{"version":1,"step":3,"config":{"lora":1}}`))
	f.Add([]byte(`null`), []byte(`{"version":1,"history":{"evals":[{"step":0}]}}`))
	f.Fuzz(func(t *testing.T, manifest, state []byte) {
		dir := checkpointPath(t.TempDir(), 3)
		if err := os.MkdirAll(filepath.Join(dir, stateDir), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{manifestFile: manifest, stateFile: state} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		list, err := ListCheckpoints(filepath.Dir(dir))
		if err != nil || len(list) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		if _, err := findCheckpoint(dir); err != nil && !errors.Is(err, ErrResume) {
			t.Fatal(err)
		}
	})
}

// A kill between two renames of the final state leaves names that are links to one file: promoting again takes them away.
func TestPromoteTwiceLeavesNothingOver(t *testing.T) {
	c := tinyConfig(t)
	c.MaxSteps, c.SaveStrategy, c.SaveSteps = 2, StrategySteps, 2
	train(t, c, Options{})
	if err := promote(checkpointPath(c.OutputDir, 2), c.OutputDir); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(c.OutputDir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v is left over (%v)", left, err)
	}
}
