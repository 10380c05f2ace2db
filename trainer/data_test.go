package trainer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lathe/datasets"
	"lathe/model"
)

func writeRows(t testing.TB, text string) StringList {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return StringList{path}
}

// Each bad input is refused before anything is trained or written, with a line that says where.
func TestBadDataIsRefused(t *testing.T) {
	good := `{"input_ids":[1,5,6,2]}` + "\n"
	for _, test := range []struct{ name, text, want string }{
		{"empty file", "", "rows.jsonl"},
		{"not JSON", good + "{oops\n", "rows.jsonl:2"},
		{"not UTF-8", good + "{\"text\":\"\xff\"}\n", "rows.jsonl:2"},
		{"no trained token", good + good + `{"input_ids":[1,5],"labels":[-100,-100]}` + "\n", "rows.jsonl:3"},
		{"beyond the vocabulary", good + `{"input_ids":[1,272]}` + "\n", "rows.jsonl:2"},
		{"negative id", `{"input_ids":[1,-3]}` + "\n", "rows.jsonl:1"},
		{"label beyond the vocabulary", `{"input_ids":[1,2],"labels":[1,999]}` + "\n", "rows.jsonl:1"},
		{"lengths differ", `{"input_ids":[1,2],"labels":[1]}` + "\n", "rows.jsonl:1"},
		{"empty answer", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":""}]}` + "\n", "rows.jsonl:1"},
		{"unknown role", `{"messages":[{"role":"boss","content":"a"},{"role":"assistant","content":"b"}]}` + "\n", "rows.jsonl:1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := tinyConfig(t)
			c.TrainFile = writeRows(t, test.text)
			_, err := Prepare(t.Context(), newDevice(t), c, Options{})
			if err == nil || !strings.Contains(err.Error(), "train_file: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if _, err := os.Stat(c.OutputDir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("output_dir was made for it: %v", err)
			}
			c.ValidationFile, c.TrainFile = c.TrainFile, StringList{absolute(t, tinyRows)}
			if _, err := Prepare(t.Context(), newDevice(t), c, Options{}); err == nil || !strings.Contains(err.Error(), "validation_file: ") {
				t.Errorf("as validation_file: %v", err)
			}
		})
	}
}

func TestManyBadRowsAreListed(t *testing.T) {
	c := tinyConfig(t)
	c.TrainFile = writeRows(t, strings.Repeat("{\"input_ids\":[1]}\n", 30))
	_, err := Prepare(t.Context(), newDevice(t), c, Options{})
	if !errors.Is(err, ErrData) {
		t.Fatal(err)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxNamedRows+2 || !strings.Contains(lines[1], ":1:") || !strings.Contains(lines[len(lines)-1], "and 22 more") {
		t.Errorf("%s", err)
	}
}

func TestMissingFilesAreNamed(t *testing.T) {
	for _, test := range []struct {
		key    string
		change func(*Config)
	}{
		{"train_file", func(c *Config) { c.TrainFile = StringList{"/none/t.jsonl"} }},
		{"validation_file", func(c *Config) { c.ValidationFile = StringList{"/none/t.jsonl"} }},
		{"model_name_or_path", func(c *Config) { c.ModelNameOrPath = "/none" }},
		{"adapter_name_or_path", func(c *Config) { c.AdapterNameOrPath = "/none" }},
	} {
		c := tinyConfig(t)
		test.change(&c)
		_, err := Prepare(t.Context(), newDevice(t), c, Options{})
		if err == nil || !strings.HasPrefix(err.Error(), test.key+": ") || !strings.Contains(err.Error(), "/none") {
			t.Errorf("%s: %v", test.key, err)
		}
	}
}

// Text goes through the model's tokenizer and template; a model without tokenizer.json trains on ready-made ids only.
func TestModelWithoutTokenizer(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(tinyModel)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(filepath.Join(dir, "tokenizer.json")), os.Remove(filepath.Join(dir, "tokenizer_config.json"))); err != nil {
		t.Fatal(err)
	}
	c := tinyConfig(t)
	c.ModelNameOrPath, c.MaxSteps = dir, 1
	train(t, c, Options{})
	c.TrainFile = writeRows(t, `{"prompt":"a","completion":"b"}`+"\n")
	if _, err := tryTrain(t, c, Options{}, nil); err == nil || !strings.Contains(err.Error(), "no tokenizer.json") {
		t.Errorf("%v", err)
	}
	c.ModelNameOrPath = absolute(t, tinyModel)
	train(t, c, Options{})
}

func TestSplitIsDisjointAndStable(t *testing.T) {
	samples := make([]datasets.Sample, 103)
	for i := range samples {
		samples[i].Row = i
	}
	rowsOf := func(s []datasets.Sample) (rows []int) {
		for _, s := range s {
			rows = append(rows, s.Row)
		}
		return rows
	}
	train, held, err := splitRows(samples, 0.05, 42)
	if err != nil {
		t.Fatal(err)
	}
	if len(held) != 6 || len(train) != 97 { // ceil(5.15), as scikit-learn
		t.Errorf("%d and %d rows", len(train), len(held))
	}
	all := append(rowsOf(train), rowsOf(held)...)
	slices.Sort(all)
	if len(slices.Compact(all)) != 103 || !slices.IsSorted(rowsOf(train)) {
		t.Error("rows are lost, doubled or out of order")
	}
	_, again, _ := splitRows(samples, 0.05, 42)
	_, other, _ := splitRows(samples, 0.05, 43)
	if !slices.Equal(rowsOf(held), rowsOf(again)) || slices.Equal(rowsOf(held), rowsOf(other)) {
		t.Errorf("held %v, again %v, with another seed %v", rowsOf(held), rowsOf(again), rowsOf(other))
	}
	if _, _, err := splitRows(samples[:1], 0.5, 1); !errors.Is(err, ErrData) {
		t.Errorf("nothing left to train on: %v", err)
	}
}

// The plan is made without loading or writing anything, agrees with the run, and its memory is what the run then takes, to the
// byte, whatever the method.
func TestPlanIsTheRun(t *testing.T) {
	for _, method := range methods(t) {
		t.Run(method.name, func(t *testing.T) {
			c := tinyConfig(t)
			method.change(&c)
			c.MaxSteps, c.ValidationFile, c.EvalStrategy, c.EvalSteps = 6, c.TrainFile, StrategySteps, 3
			environment, err := Measure(newDevice(t))
			if err != nil {
				t.Fatal(err)
			}
			plan, err := MakePlan(t.Context(), c, environment, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if !plan.Fits || plan.SecondsEstimate <= 0 || plan.Steps != 6 || plan.Tokens <= 0 || plan.TrainedTokens <= 0 {
				t.Errorf("%+v", plan)
			}
			if _, err := os.Stat(c.OutputDir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("planning made output_dir: %v", err)
			}
			dev := newDevice(t) // which has no workspace yet
			r, err := Prepare(t.Context(), dev, c, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			m := plan.Memory
			if used := dev.Memory().Used; used != m.Total() {
				t.Errorf("planned %d bytes (%+v), the prepared run holds %d", m.Total(), m, used)
			}
			if err := r.Train(t.Context(), nil, func(Event) {}); err != nil {
				t.Fatal(err)
			}
			o := model.GenerateOptions{MaxNewTokens: 3, IgnoreEOS: true}
			if _, err := r.Live().Model.Generate(t.Context(), []int32{1, 2, 3}, o, nil); err != nil {
				t.Fatal(err)
			}
			if got := dev.Memory(); got.Used != m.Total() || got.Peak != m.Total() {
				t.Errorf("planned %d bytes; loading, training, evaluating and generating went up to %d and left %d", m.Total(), got.Peak, got.Used)
			}
			got := r.Plan()
			got.SecondsEstimate, got.Available = plan.SecondsEstimate, plan.Available
			if got.Steps != plan.Steps || got.Memory != plan.Memory || got.Tokens != plan.Tokens {
				t.Errorf("the run's plan is %+v, planned was %+v", got, plan)
			}
		})
	}
}

func TestRunThatDoesNotFitIsRefused(t *testing.T) {
	plan := Plan{Memory: MemoryPlan{Base: 10 << 30, Activations: 1 << 30}, Available: 1 << 30}
	err := plan.memoryError()
	if !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "11.0 GiB") || !strings.Contains(err.Error(), "1.0 GiB free") {
		t.Errorf("%v", err)
	}
	c := tinyConfig(t)
	environment, err := Measure(newDevice(t))
	if err != nil {
		t.Fatal(err)
	}
	environment.Device.MemoryFree = 1000
	if plan, err := MakePlan(context.Background(), c, environment, Options{}); err != nil || plan.Fits {
		t.Errorf("a thousand bytes are enough: %+v, %v", plan, err)
	}
}

// A model that is no folder, such as the one in the program itself, trains like any other.
func TestEmbeddedModel(t *testing.T) {
	files, err := model.OpenFS(os.DirFS(tinyModel))
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	c := tinyConfig(t)
	c.Method, c.MaxSteps, c.ModelNameOrPath = MethodFull, 2, "built in"
	train(t, c, Options{Files: files, StopAfter: 1})
	events := train(t, c, Options{Files: files, Resume: c.OutputDir})
	if steps := only[StepDone](events); len(steps) != 1 || steps[0].Step != 2 {
		t.Errorf("%+v", steps)
	}
	if _, err := os.Stat(filepath.Join(c.OutputDir, "tokenizer.json")); err != nil {
		t.Error(err)
	}
}
