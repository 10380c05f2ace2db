package datasets

import (
	"reflect"
	"slices"
	"testing"
)

// lengths makes samples of the given lengths whose tokens are 1000·sample+place,
// the first of them masked.
func lengths(ns ...int) []Sample {
	samples := make([]Sample, len(ns))
	for i, n := range ns {
		for j := range n {
			samples[i].Tokens = append(samples[i].Tokens, int32(1000*i+j))
			samples[i].Labels = append(samples[i].Labels, int32(1000*i+j))
		}
		samples[i].Labels[0] = IgnoreIndex
		samples[i].Row = i
	}
	return samples
}

func step(t *testing.T, l *Loader, epoch, i int) []Batch {
	t.Helper()
	batches, err := l.Step(epoch, i)
	if err != nil {
		t.Fatal(err)
	}
	return batches
}

func TestStepIsFlatAndShifted(t *testing.T) {
	samples := lengths(3, 2)
	samples[1].Labels[1] = IgnoreIndex
	got := step(t, NewLoader(samples, LoaderConfig{BatchSize: 2, GradAccum: 1}), 0, 0)
	want := []Batch{{
		Tokens:    []int32{0, 1, 2, 1000, 1001},
		Labels:    []int32{1, 2, -100, -100, -100},
		Positions: []int32{0, 1, 2, 0, 1},
		Seqs:      []int32{0, 3, 5},
		Rows:      []int{0, 1},
		Trained:   2,
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLastStepKeepsTheRest(t *testing.T) {
	// 7 rows of batch 2 and accumulation 2: 4 rows, then 3 in two micro-batches.
	l := NewLoader(lengths(2, 2, 2, 2, 2, 2, 2), LoaderConfig{BatchSize: 2, GradAccum: 2})
	if l.StepsPerEpoch() != 2 {
		t.Fatalf("%d steps, want 2", l.StepsPerEpoch())
	}
	var rows [][]int
	for _, b := range step(t, l, 3, 1) {
		rows = append(rows, b.Rows)
	}
	if want := [][]int{{4, 5}, {6}}; !reflect.DeepEqual(rows, want) {
		t.Errorf("last step has rows %v, want %v", rows, want)
	}
	if _, err := l.Step(0, 2); err == nil {
		t.Error("a step beyond the epoch was returned")
	}
}

func TestShuffleVisitsEachRowOnceAndRepeats(t *testing.T) {
	samples := lengths(slices.Repeat([]int{2, 5, 3}, 50)...)
	config := LoaderConfig{BatchSize: 4, GradAccum: 2, Shuffle: true, Seed: 7}
	visit := func(l *Loader, epoch int) (rows []int) {
		for i := range l.StepsPerEpoch() {
			for _, b := range step(t, l, epoch, i) {
				rows = append(rows, b.Rows...)
			}
		}
		return rows
	}
	l := NewLoader(samples, config)
	first, second := visit(l, 0), visit(l, 1)
	if slices.Equal(first, second) {
		t.Error("two epochs have the same order")
	}
	if again := visit(NewLoader(samples, config), 1); !slices.Equal(second, again) {
		t.Error("epoch 1 differs when epoch 0 was not visited before")
	}
	config.Seed = 8
	if other := visit(NewLoader(samples, config), 0); slices.Equal(first, other) {
		t.Error("two seeds have the same order")
	}
	slices.Sort(first)
	for i, r := range first {
		if i != r {
			t.Fatalf("rows visited: %v", first)
		}
	}
}

func TestPackingFillsRowsWithWholeSamples(t *testing.T) {
	samples := lengths(6, 3, 5, 4, 2, 9, 10)
	for _, shuffle := range []bool{false, true} {
		l := NewLoader(samples, LoaderConfig{BatchSize: 1, Packing: true, MaxSeqLength: 10, Shuffle: shuffle, Seed: 1})
		// 39 tokens fit in 4 rows of 10: [10] [9] [6 4] [5 3 2].
		if l.Rows() != 4 {
			t.Fatalf("shuffle %v: %d rows, want 4", shuffle, l.Rows())
		}
		seen := map[int]int{}
		for i := range l.StepsPerEpoch() {
			for _, b := range step(t, l, 0, i) {
				if len(b.Tokens) > 10 {
					t.Errorf("a row has %d tokens", len(b.Tokens))
				}
				for s, row := range b.Rows {
					seen[row]++
					if part := b.Tokens[b.Seqs[s]:b.Seqs[s+1]]; !slices.Equal(part, samples[row].Tokens) {
						t.Errorf("sample %d was cut: %v", row, part)
					}
				}
			}
		}
		if len(seen) != len(samples) {
			t.Errorf("saw %v, want each of %d samples once", seen, len(samples))
		}
	}
}

func TestPackingInFileOrder(t *testing.T) {
	l := NewLoader(lengths(6, 3, 5, 4), LoaderConfig{BatchSize: 8, Packing: true, MaxSeqLength: 10})
	if got, want := step(t, l, 0, 0)[0].Rows, []int{0, 3, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("rows %v, want %v", got, want)
	}
}

func TestLongestBatchBoundsEveryEpoch(t *testing.T) {
	samples := lengths(slices.Repeat([]int{2, 17, 3, 8, 11}, 20)...)
	for _, c := range []LoaderConfig{
		{BatchSize: 3, GradAccum: 2},
		{BatchSize: 3, GradAccum: 2, Shuffle: true},
		{BatchSize: 3, GradAccum: 2, Shuffle: true, Packing: true, MaxSeqLength: 32},
	} {
		l := NewLoader(samples, c)
		tokens, seqs, longest := l.LongestBatch()
		for epoch := range 5 {
			for i := range l.StepsPerEpoch() {
				for _, b := range step(t, l, epoch, i) {
					if len(b.Tokens) > tokens || len(b.Rows) > seqs {
						t.Fatalf("%+v: a batch has %d tokens and %d sequences, the bound is %d and %d",
							c, len(b.Tokens), len(b.Rows), tokens, seqs)
					}
				}
			}
		}
		if longest != 17 {
			t.Errorf("longest sequence %d, want 17", longest)
		}
	}
	if tokens, seqs, _ := NewLoader(samples, LoaderConfig{BatchSize: 3}).LongestBatch(); tokens != 30 || seqs != 3 {
		t.Errorf("in file order the longest batch has %d tokens and %d sequences, want 30 and 3", tokens, seqs)
	}
}

func TestEmptyLoader(t *testing.T) {
	l := NewLoader(nil, LoaderConfig{BatchSize: 2, Packing: true, Shuffle: true})
	if tokens, seqs, longest := l.LongestBatch(); l.StepsPerEpoch() != 0 || tokens+seqs+longest != 0 {
		t.Errorf("an empty loader has %d steps and a longest batch of %d tokens", l.StepsPerEpoch(), tokens)
	}
}
