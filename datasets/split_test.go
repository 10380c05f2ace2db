package datasets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestSplitSizesAreExact(t *testing.T) {
	cases := []struct {
		n      int
		ratios []float64
		want   []int // and the rest
	}{
		{1000, []float64{0.8, 0.1, 0.1}, []int{800, 100, 100, 0}},
		{7, []float64{0.8, 0.1, 0.1}, []int{5, 1, 1, 0}},  // 5.6, 0.7, 0.7: the largest remainders are the small parts'
		{100, []float64{0.29, 0.71}, []int{29, 71, 0}},    // 0.29·100 is 28.999… in floating point
		{10, []float64{0.7, 0.2, 0.1}, []int{7, 2, 1, 0}}, // they add up to 0.9999999999999999
		{10, []float64{0.5, 0.2}, []int{5, 2, 3}},
		{0, []float64{1}, []int{0, 0}},
	}
	for _, c := range cases {
		s, err := Split(c.n, c.ratios, 3, nil)
		if err != nil {
			t.Fatal(err)
		}
		var sizes, all []int
		for _, part := range append(s.Parts, s.Rest) {
			sizes = append(sizes, len(part))
			all = append(all, part...)
		}
		if !slices.Equal(sizes, c.want) {
			t.Errorf("%d by %v: sizes %v, want %v", c.n, c.ratios, sizes, c.want)
		}
		slices.Sort(all)
		for i, row := range all {
			if i != row {
				t.Fatalf("%d by %v: rows %v are not each once", c.n, c.ratios, all)
			}
		}
	}
}

func TestSplitIsStratified(t *testing.T) {
	classes := make([]string, 1000)
	for i := range classes {
		classes[i] = []string{"rare", "common", "common", "common", "middle", "common", "middle", "common", "common", "common"}[i%10]
	}
	s, err := Split(1000, []float64{0.8, 0.1, 0.1}, 1, classes)
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range []map[string]int{{"rare": 80, "common": 560, "middle": 160}, {"rare": 10, "common": 70, "middle": 20}, {"rare": 10, "common": 70, "middle": 20}} {
		got := map[string]int{}
		for _, row := range s.Parts[p] {
			got[classes[row]]++
		}
		for class, n := range want {
			if got[class] < n-1 || got[class] > n+1 { // whole rows: one more or less
				t.Errorf("part %d has %v, want %v within 1", p, got, want)
			}
		}
	}
	again, _ := Split(1000, []float64{0.8, 0.1, 0.1}, 1, classes)
	other, _ := Split(1000, []float64{0.8, 0.1, 0.1}, 2, classes)
	if !reflect.DeepEqual(s, again) || reflect.DeepEqual(s, other) {
		t.Error("a split is not a function of its seed")
	}
}

func TestSplitRefusesBadRatios(t *testing.T) {
	for _, ratios := range [][]float64{{0.8, 0.3}, {-0.1, 1}, {2}, {0}, nil} {
		if _, err := Split(10, ratios, 0, nil); !errors.Is(err, ErrRatios) {
			t.Errorf("%v: error %v", ratios, err)
		}
	}
}

func TestHoldOut(t *testing.T) {
	for _, c := range []struct {
		n     int
		ratio float64
		want  int
	}{{100, 0.05, 5}, {3, 0.01, 1}, {2, 0.9, 1}} {
		train, validation, err := HoldOut(c.n, c.ratio, 42)
		if err != nil || len(validation) != c.want || len(train) != c.n-c.want {
			t.Errorf("%+v: %d and %d, %v", c, len(train), len(validation), err)
		}
		for _, row := range validation {
			if slices.Contains(train, row) {
				t.Errorf("row %d is in both", row)
			}
		}
	}
	if _, _, err := HoldOut(10, 1, 0); !errors.Is(err, ErrRatios) {
		t.Errorf("all of it: %v", err)
	}
}

func TestSplitFileKeepsBytes(t *testing.T) {
	var content strings.Builder
	want := map[string]bool{}
	for i := range 50 {
		row := fmt.Sprintf(`{ "text":"row %d \u00e9", "n": 1.50e0, "label":"%d"}`, i, i%2)
		want[row] = true
		content.WriteString(row + "\r\n")
	}
	f := open(t, write(t, "a.jsonl", content.String()), Options{})
	dir := filepath.Join(t.TempDir(), "new")
	splits, paths, err := SplitFile(context.Background(), f, dir, []float64{0.8, 0.2}, 1, "label")
	if err != nil || len(splits.Parts[0]) != 40 || len(paths) != 2 {
		t.Fatalf("%v, %v", paths, err)
	}
	for _, path := range paths {
		written, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(written)) {
			if !want[strings.TrimSuffix(line, "\n")] {
				t.Errorf("%q is no row of the input, or was there before", line)
			}
			delete(want, strings.TrimSuffix(line, "\n"))
		}
	}
	if len(want) != 0 {
		t.Errorf("%d rows were lost", len(want))
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 2 {
		t.Errorf("%d files in the folder, want 2", len(left))
	}
}

func TestSplitFileRefusesItsInput(t *testing.T) {
	path := write(t, "train.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n")
	f := open(t, path, Options{})
	if _, _, err := SplitFile(context.Background(), f, filepath.Dir(path), []float64{1}, 1, ""); !errors.Is(err, ErrSameFile) {
		t.Errorf("error %v", err)
	}
}

func TestSplitFilePutsArrayRowsOnOneLine(t *testing.T) {
	f := open(t, write(t, "a.json", "[\n{\n \"text\": \"a\"\n},\n{\"text\": \"b\"}]"), Options{})
	_, paths, err := SplitFile(context.Background(), f, t.TempDir(), []float64{1}, 1, "")
	if err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(paths[0])
	if want := "{\"text\":\"a\"}\n{\"text\": \"b\"}\n"; string(got) != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
}

func TestMeasure(t *testing.T) {
	f := open(t, write(t, "a.jsonl", `{"prompt":"abc","completion":"é","k":"x"}
{"prompt":"a","completion":"12345","k":"y"}
{"messages":[{"role":"user","content":"12"},{"role":"assistant","content":"3"}],"k":"x"}
nonsense
`), Options{})
	s, err := Measure(context.Background(), f, StatsOptions{Encoder: &Encoder{Tokenizer: fakeTokenizer{}, MaxSeqLength: 6}, By: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Rows != 4 || s.Invalid != 1 || s.Unusable != 2 || s.Formats[FormatPromptCompletion] != 2 || s.Classes["x"] != 2 {
		t.Errorf("%+v", s)
	}
	if want := (Distribution{Count: 3, Mean: 2, Min: 1, P50: 2, P90: 3, P99: 3, Max: 3}); s.PromptChars != want {
		t.Errorf("prompts %+v, want %+v", s.PromptChars, want)
	}
	if s.AnswerChars.Max != 5 || s.Turns.Max != 2 || s.Roles["user"] != 1 {
		t.Errorf("%+v", s)
	}
	// "abc" + two bytes of é + EOS; "a12345" + EOS cut to six.
	if s.Tokens != 12 || s.TooLong != 1 || s.RowTokens.Max != 7 || s.Trained != 3+5 {
		t.Errorf("%+v", s)
	}
	empty := open(t, write(t, "b.jsonl", ""), Options{})
	if s, err := Measure(context.Background(), empty, StatsOptions{}); err != nil || s.Rows != 0 {
		t.Errorf("an empty file: %+v, %v", s, err)
	}
}
