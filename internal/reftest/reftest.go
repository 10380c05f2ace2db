// Package reftest reads what tools/refdump wrote under testdata/ref, for the tests that compare with it. Whatever is missing or
// broken there ends the test.
package reftest

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"lathe/model/safetensors"
)

// Ignore is the label of a token that is not trained, as torch has it.
const Ignore = -100

// Dump is an open file of tensors.
type Dump struct {
	path string
	set  *safetensors.Set
}

// Open opens a dump until the test ends.
func Open(t testing.TB, parts ...string) Dump {
	t.Helper()
	path := filepath.Join(parts...)
	set, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	return Dump{path, set}
}

// Names lists the dump's tensors.
func (d Dump) Names() []string { return d.set.Names() }

// Has tells whether the dump holds a tensor.
func (d Dump) Has(name string) bool {
	_, ok := d.set.Tensor(name)
	return ok
}

func (d Dump) tensor(t testing.TB, name string) safetensors.Tensor {
	t.Helper()
	x, ok := d.set.Tensor(name)
	if !ok {
		t.Fatalf("%s has no %s", d.path, name)
	}
	return x
}

// Floats reads a tensor of any floating type.
func (d Dump) Floats(t testing.TB, name string) []float32 {
	t.Helper()
	values, err := safetensors.Float32s(d.tensor(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// Ints reads an i64 tensor.
func (d Dump) Ints(t testing.TB, name string) []int32 {
	t.Helper()
	x := d.tensor(t, name)
	if x.DType != safetensors.I64 {
		t.Fatalf("%s: %s is %s, not I64", d.path, name, x.DType)
	}
	out := make([]int32, len(x.Data)/8)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint64(x.Data[8*i:]))
	}
	return out
}

// Batch is some sequences one after the other, as the model takes them.
type Batch struct {
	Tokens []int32 // [N]
	Seqs   []int32 // where each sequence starts, and N
	Labels []int32 // [N], the token that comes next, or Ignore
}

func (b *Batch) add(tokens, next []int32) {
	if len(b.Seqs) == 0 {
		b.Seqs = []int32{0}
	}
	b.Tokens = append(b.Tokens, tokens...)
	b.Labels = append(append(b.Labels, next[1:]...), Ignore) // a dump's labels are not shifted yet
	b.Seqs = append(b.Seqs, int32(len(b.Tokens)))
}

// Labelled are the places that have a label.
func (b Batch) Labelled() (at []int) {
	for i, l := range b.Labels {
		if l != Ignore {
			at = append(at, i)
		}
	}
	return at
}

// Every is the sequences of dump/forward.safetensors with every next token as its label: what its logprobs belong to.
func (d Dump) Every(t testing.TB) Batch {
	t.Helper()
	return d.sequences(t, d.Ints(t, "input_ids"))
}

// Trained is the same sequences with the labels of dump/forward.safetensors: what its loss is the mean of.
func (d Dump) Trained(t testing.TB) Batch {
	t.Helper()
	return d.sequences(t, d.Ints(t, "labels"))
}

func (d Dump) sequences(t testing.TB, labels []int32) (b Batch) {
	t.Helper()
	ids, start := d.Ints(t, "input_ids"), 0
	for _, n := range d.Ints(t, "lengths") {
		end := start + int(n)
		b.add(ids[start:end], labels[start:end])
		start = end
	}
	return b
}

// Rows is the first n rows of a rows.jsonl.
func Rows(t testing.TB, path string, n int) (b Batch) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for range n {
		var row struct {
			IDs    []int32 `json:"input_ids"`
			Labels []int32 `json:"labels"`
		}
		if !lines.Scan() {
			t.Fatalf("%s has fewer than %d rows", path, n)
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		b.add(row.IDs, row.Labels)
	}
	return b
}

// Losses is what a run measured at each optimiser step: losses.json in float32, losses-bf16.json under autocast.
type Losses struct {
	Run struct {
		Model, Method, Adapter string
	}
	Steps []struct {
		Step         int
		Loss         float64
		GradNorm     float64 `json:"grad_norm"`
		LearningRate float64 `json:"learning_rate"`
		Tokens       int
	}
	// Rounding is the largest relative difference of a run in bfloat16 to the same in float32.
	Rounding struct {
		Loss     float64
		GradNorm float64 `json:"grad_norm"`
	} `json:"difference_to_float32"`
}

// RoundedFile holds the losses of a run in bfloat16, where there are any.
const RoundedFile = "losses-bf16.json"

// ReadLosses reads the losses of a run's folder.
func ReadLosses(t testing.TB, dir string) Losses {
	t.Helper()
	return readLosses(t, filepath.Join(dir, "losses.json"))
}

// ReadRounded reads the losses in bfloat16 of a run's folder.
func ReadRounded(t testing.TB, dir string) Losses {
	t.Helper()
	return readLosses(t, filepath.Join(dir, RoundedFile))
}

func readLosses(t testing.TB, path string) (l Losses) {
	t.Helper()
	ReadJSON(t, path, &l)
	if len(l.Steps) == 0 {
		t.Fatalf("%s: no steps", path)
	}
	return l
}

// Tolerance is how far losses and gradient norms may be off, relative. In float32 the noise of the reference is 1e-5, and a mistake as small as
// another variant of GELU 5e-4. In bfloat16 each program rounds at places of its own: lathe the operands of products, autocast the results
// too. Three times what that takes PyTorch's losses away from float32 bounds the difference (measured: 2.1).
func (l Losses) Tolerance() (loss, norm float64) {
	if l.Rounding.Loss > 0 {
		return 3 * l.Rounding.Loss, 3 * l.Rounding.GradNorm
	}
	return 2e-4, 2e-3
}

// RoundingOf says what bfloat16 does to the losses of a run of a folder, as shares of what it does to PyTorch's: the largest difference of the
// two runs in bfloat16, and the mean difference to float32.
func RoundingOf(t testing.TB, dir string, losses []float64) (apart, toExact float64) {
	t.Helper()
	exact, rounded := ReadLosses(t, dir), ReadRounded(t, dir)
	if len(losses) != len(exact.Steps) || len(losses) != len(rounded.Steps) {
		t.Fatalf("%d losses, %s has %d and %d", len(losses), dir, len(exact.Steps), len(rounded.Steps))
	}
	ours, theirs := 0.0, 0.0
	for i, loss := range losses {
		apart = max(apart, Relative(loss, rounded.Steps[i].Loss)/rounded.Rounding.Loss)
		ours += Relative(loss, exact.Steps[i].Loss)
		theirs += Relative(rounded.Steps[i].Loss, exact.Steps[i].Loss)
	}
	return apart, ours / theirs
}

// ReadJSON reads a JSON file.
func ReadJSON(t testing.TB, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// Pick is the values at some places.
func Pick(values []float32, at []int) []float32 {
	out := make([]float32, len(at))
	for i, r := range at {
		out[i] = values[r]
	}
	return out
}

// Worst is the largest absolute difference, infinite where one is not a number or the lengths differ.
func Worst(got, want []float32) float64 {
	if len(got) != len(want) || len(want) == 0 {
		return math.Inf(1)
	}
	w := 0.0
	for i := range got {
		d := math.Abs(float64(got[i]) - float64(want[i]))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		w = max(w, d)
	}
	return w
}

// Relative is |got/want − 1|, infinite where it is not a number.
func Relative(got, want float64) float64 {
	if d := math.Abs(got-want) / math.Abs(want); !math.IsNaN(d) {
		return d
	}
	if got == want {
		return 0
	}
	return math.Inf(1)
}
