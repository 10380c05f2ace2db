package cli

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"lathe/internal/reftest"
	"lathe/model/safetensors"
)

// logprobTolerance is absolute: the noise between torch's own kernels and float64 is up to 7e-6 in log-probabilities, while a mistake as
// small as another variant of GELU shows as 5e-4.
const logprobTolerance = 2e-4

// forward is dump/forward.json: sequences with the ids that transformers generates greedily.
type forward struct {
	Sequences []struct{ IDs []int32 }
	PromptIDs []int32 `json:"prompt_ids"`
	Generated []int32 `json:"generated_ids"`
}

func readForward(t *testing.T, name string) (f forward) {
	t.Helper()
	if err := json.Unmarshal(read(t, refDir(t, name, "dump", "forward.json")), &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Sequences) == 0 || len(f.Generated) == 0 {
		t.Fatalf("%s: an empty dump", name)
	}
	return f
}

// idsFile writes the sequences as `lathe score --ids` reads them.
func (f forward) idsFile(t *testing.T) string {
	t.Helper()
	var lines strings.Builder
	for _, s := range f.Sequences {
		line, err := json.Marshal(map[string]any{"ids": s.IDs})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, "%s\n", line)
	}
	return write(t, t.TempDir(), "ids.jsonl", lines.String())
}

func openSet(t *testing.T, path string) *safetensors.Set {
	t.Helper()
	set, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	return set
}

func floats(t *testing.T, set *safetensors.Set, name string) []float32 {
	t.Helper()
	x, ok := set.Tensor(name)
	if !ok {
		t.Fatalf("the dump has no %s", name)
	}
	values, err := safetensors.Float32s(x)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// nextTokens are ln p of each next token of the sequences, from the dump's logits [rows, vocab] in float64.
func nextTokens(t *testing.T, name string, f forward) []float64 {
	t.Helper()
	set := openSet(t, refDir(t, name, "dump", "forward.safetensors"))
	logits := floats(t, set, "logits")
	rows := 0
	for _, s := range f.Sequences {
		rows += len(s.IDs)
	}
	vocab := len(logits) / rows
	if lengths, ok := set.Tensor("lengths"); !ok || binary.LittleEndian.Uint64(lengths.Data) != uint64(len(f.Sequences[0].IDs)) {
		t.Fatalf("%s: the dump's sequences are others", name)
	}
	var want []float64
	row := 0
	for _, s := range f.Sequences {
		for i := range s.IDs {
			if i+1 < len(s.IDs) {
				want = append(want, logSoftmax(logits[row*vocab:(row+1)*vocab], s.IDs[i+1]))
			}
			row++
		}
	}
	return want
}

func logSoftmax(logits []float32, id int32) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, x := range logits {
		top = max(top, float64(x))
	}
	for _, x := range logits {
		sum += math.Exp(float64(x) - top)
	}
	return float64(logits[id]) - top - math.Log(sum)
}

// compareScores reads the lines of `lathe score` and compares them with the wanted log-probabilities of all sequences.
func compareScores(t *testing.T, out output, f forward, want []float64) {
	t.Helper()
	worst, at := 0.0, 0
	lines := decodeLines[scoreResult](t, out.stdout)
	if len(lines) != len(f.Sequences) {
		t.Fatalf("%d lines for %d sequences", len(lines), len(f.Sequences))
	}
	for i, line := range lines {
		if len(line.LogProbs) != len(f.Sequences[i].IDs)-1 {
			t.Fatalf("sequence %d: %d values for %d ids", i, len(line.LogProbs), len(f.Sequences[i].IDs))
		}
		sum := 0.0
		for _, x := range line.LogProbs {
			worst = max(worst, math.Abs(x-want[at]))
			sum += want[at]
			at++
		}
		if mean := -sum / float64(len(line.LogProbs)); math.Abs(line.Loss-mean) > logprobTolerance {
			t.Errorf("sequence %d: loss %v, want %v", i, line.Loss, mean)
		}
	}
	if !(worst <= logprobTolerance) {
		t.Errorf("log-probabilities are off by %.3g", worst)
	}
	t.Logf("log-probabilities: off by %.1e at most", worst)
}

// refModels are the reference models that stand in their original precision.
var refModels = []string{
	"llama-gqa", "llama-gqa-v4", "llama-gqa-sharded", "llama-gqa-bf16", "llama3-rope", "llama-linear-rope", "llama-bias-tied",
}

func TestScoreMatchesTransformers(t *testing.T) {
	for _, name := range refModels {
		t.Run(name, func(t *testing.T) {
			f := readForward(t, name)
			out := ok(t, "score", "--model", refDir(t, name), "--ids", f.idsFile(t), "--json")
			compareScores(t, out, f, nextTokens(t, name, f))
		})
	}
}

func TestScoreMatchesPEFTAndBitsandbytes(t *testing.T) {
	for _, c := range []struct {
		key  string
		args []string
	}{
		{"base", nil},
		{"nf4", []string{"--load-in-4bit", "--double-quant=false"}},
		{"nf4_double", []string{"--load-in-4bit"}},
		{"lora", []string{"--adapter", "lora-random"}},
		{"lora-qv-rslora", []string{"--adapter", "lora-qv-rslora-random"}},
		{"nf4_double+lora", []string{"--load-in-4bit", "--adapter", "lora-random"}},
	} {
		t.Run(c.key, func(t *testing.T) {
			const name = "llama-gqa"
			f := readForward(t, name)
			args := []string{"score", "--model", refDir(t, name), "--ids", f.idsFile(t)}
			for _, arg := range c.args {
				if strings.HasPrefix(arg, "lora") {
					arg = refDir(t, name, "adapters", arg)
				}
				args = append(args, arg)
			}
			var want []float64
			for _, x := range floats(t, openSet(t, refDir(t, name, "dump", "scores.safetensors")), c.key) {
				want = append(want, float64(x))
			}
			compareScores(t, ok(t, args...), f, want)
		})
	}
}

func TestGenerateMatchesTransformers(t *testing.T) {
	for _, name := range refModels {
		t.Run(name, func(t *testing.T) {
			f := readForward(t, name)
			ids := strings.Trim(strings.ReplaceAll(fmt.Sprint(f.PromptIDs), " ", ","), "[]")
			out := ok(t, "generate", "--model", refDir(t, name), "--prompt-ids", ids, "--max-new-tokens", fmt.Sprint(len(f.Generated)), "--ignore-eos", "--json")
			got := decodeLines[generateResult](t, out.stdout)
			if len(got) != 1 || !reflect.DeepEqual(got[0].IDs, f.Generated) || got[0].FinishReason != "length" {
				t.Errorf("got  %+v\nwant %v", got, f.Generated)
			}
		})
	}
}

func TestTokenizerMatchesTransformers(t *testing.T) {
	var dump struct {
		Texts []struct {
			Text string
			IDs  []int32
		}
		Chats []struct {
			Messages any  `json:"messages"`
			Add      bool `json:"add_generation_prompt"`
			Text     string
			IDs      []int32
			Mask     []int
		}
	}
	if err := json.Unmarshal(read(t, refDir(t, "llama-gqa", "dump", "tokenizer.json")), &dump); err != nil {
		t.Fatal(err)
	}
	if len(dump.Texts) < 4 || len(dump.Chats) < 2 {
		t.Fatalf("%d texts, %d chats", len(dump.Texts), len(dump.Chats))
	}
	var texts, chats strings.Builder
	for _, x := range dump.Texts {
		line, _ := json.Marshal(map[string]any{"text": x.Text})
		fmt.Fprintf(&texts, "%s\n", line)
	}
	for _, x := range dump.Chats {
		line, _ := json.Marshal(map[string]any{"messages": x.Messages, "add_generation_prompt": x.Add})
		fmt.Fprintf(&chats, "%s\n", line)
	}
	out := latheReading(t, strings.NewReader(texts.String()), "tokenize", "--model", refDir(t, "llama-gqa"), "--text", "-", "--json")
	got := decodeLines[struct{ IDs []int32 }](t, out.stdout)
	if out.code != exitDone || len(got) != len(dump.Texts) {
		t.Fatalf("%d lines: %+v", len(got), out)
	}
	for i, x := range dump.Texts {
		if !reflect.DeepEqual(got[i].IDs, x.IDs) {
			t.Errorf("%q: got %v, want %v", x.Text, got[i].IDs, x.IDs)
		}
	}
	out = latheReading(t, strings.NewReader(chats.String()), "render", "--model", refDir(t, "llama-gqa"), "--messages", "-", "--json")
	rendered := decodeLines[renderResult](t, out.stdout)
	if out.code != exitDone || len(rendered) != len(dump.Chats) {
		t.Fatalf("%d lines: %+v", len(rendered), out)
	}
	for i, x := range dump.Chats {
		if want := (renderResult{x.Text, x.IDs, x.Mask}); !reflect.DeepEqual(rendered[i], want) {
			t.Errorf("got  %+v\nwant %+v", rendered[i], want)
		}
	}
}

// Twenty steps of every reference run, by its own run.yaml, against the losses and norms of transformers and PEFT.
func TestTrainMatchesPEFT(t *testing.T) {
	paths, err := filepath.Glob(refDir(t, "*", "train-*", "run.yaml"))
	if err != nil || len(paths) < 6 {
		t.Fatalf("%d reference runs (%v)", len(paths), err)
	}
	for _, path := range paths {
		folder := filepath.Dir(path)
		t.Run(filepath.Base(filepath.Dir(folder))+"/"+filepath.Base(folder), func(t *testing.T) {
			if strings.HasSuffix(folder, "prefix-projection") {
				t.Skip("compared by trainer's TestTwentyStepsAgainstPyTorch: PEFT's files lack the projection that the run starts from")
			}
			compareLosses(t, trainReference(t, folder, nil), 20, reftest.ReadLosses(t, folder))
		})
	}
}

// trainReference runs a reference run by its own run.yaml, with changes, and gives its steps.
func trainReference(t *testing.T, folder string, changes config, args ...string) []object {
	t.Helper()
	dir := t.TempDir()
	text := string(read(t, folder, "run.yaml"))
	line := func(key string) *regexp.Regexp { return regexp.MustCompile("(?m)^" + key + ": (.*)\n") }
	set := func(key string, value any) {
		text = line(key).ReplaceAllLiteralString(text, "") + fmt.Sprintf("%s: %v\n", key, value)
	}
	for key, base := range map[string]string{"model_name_or_path": folder, "train_file": folder, "adapter_name_or_path": folder, "output_dir": dir} {
		if path := line(key).FindStringSubmatch(text); path != nil {
			set(key, filepath.Join(base, path[1]))
		}
	}
	for key, value := range changes {
		set(key, value)
	}
	return events(train(t, dir, write(t, dir, "run.yaml", text), args...), "step")
}

// compareLosses holds so many first steps against those of a dump.
func compareLosses(t *testing.T, steps []object, n int, ref reftest.Losses) {
	t.Helper()
	if len(steps) != n || len(ref.Steps) != 20 {
		t.Fatalf("%d steps instead of %d, %d in the dump", len(steps), n, len(ref.Steps))
	}
	worstLoss, worstNorm := 0.0, 0.0
	for i, got := range steps {
		want := ref.Steps[i]
		if got["step"] != float64(want.Step) || math.Abs(got["learning_rate"].(float64)-want.LearningRate) > 1e-15 {
			t.Errorf("step %v: is %v at rate %v, want %v", want.Step, got["step"], got["learning_rate"], want.LearningRate)
		}
		worstLoss = max(worstLoss, reftest.Relative(got["loss"].(float64), want.Loss))
		worstNorm = max(worstNorm, reftest.Relative(got["grad_norm"].(float64), want.GradNorm))
	}
	if loss, norm := ref.Tolerance(); !(worstLoss <= loss && worstNorm <= norm) {
		t.Errorf("off by %.2g (losses) and %.2g (norms), at most %.2g and %.2g are allowed", worstLoss, worstNorm, loss, norm)
	}
	t.Logf("relative: losses off by %.1e, norms by %.1e", worstLoss, worstNorm)
}
