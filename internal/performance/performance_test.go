package performance

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/sample.md and the plots anew")

// The document of a sample, which was measured once in short.
func TestDocument(t *testing.T) {
	files, err := LoadAll("testdata")
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	text, plots := Document(files, "- Something.\n")
	if len(plots) != 2 {
		t.Errorf("%d plots, want those of both sweeps", len(plots))
	}
	golden(t, "sample.md", text)
	for name, svg := range plots {
		golden(t, name, svg)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := WriteFile(path, []byte(got)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from what the sample gives; look at it, then: go test ./internal/performance -update", name)
	}
}

func TestAddReplacesTheSameWork(t *testing.T) {
	f := &File{}
	lines := `{"what":"train","date":"2026-01-02","device":"X","threads":2,"tier":"avx2","method":"lora","dtype":"float32","rows":"full","tokens_per_second":1}
{"what":"train","method":"lora","dtype":"float32","rows":"ragged","tokens_per_second":2}

{"what":"train","method":"lora","dtype":"float32","rows":"full","tokens_per_second":3}
{"goal":"lora-float32","ratio":1.5}
{"goal":"lora-float32","ratio":1.6}
`
	if err := f.AddAll(strings.NewReader(lines)); err != nil {
		t.Fatal(err)
	}
	if len(f.Train) != 2 || f.Train[0].TokensPerSecond != 3 || len(f.Pairs) != 1 || f.Pairs[0].Ratio != 1.6 {
		t.Errorf("%+v", f)
	}
	if f.Machine != "X" || f.Date != "2026-01-02" || f.Threads != 2 {
		t.Errorf("%q, %q, %d threads", f.Machine, f.Date, f.Threads)
	}
	path := filepath.Join(t.TempDir(), "x.json")
	if err := f.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil || len(again.Train) != 2 || again.Pairs[0].Ratio != 1.6 {
		t.Errorf("read back: %+v, %v", again, err)
	}
	for _, bad := range []string{`{"what":"dance"}`, `{`} {
		if err := f.Add([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestCompare(t *testing.T) {
	p := Pair{
		Peer:  Side{Figures: []float64{100, 80}, PeakMemory: 1000, StartSeconds: []float64{8, 10}},
		Lathe: Side{Figures: []float64{150, 160}, PeakMemory: 250, StartSeconds: []float64{0.3, 0.6}},
	}
	p.Compare()
	if p.Ratio != 1.75 || p.MemoryRatio != 0.25 || p.StartRatio < 0.0499 || p.StartRatio > 0.0501 || p.Peer.Figure != 90 {
		t.Errorf("%+v", p)
	}
	if got := Median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("median %v", got)
	}
}

func TestRaggedRows(t *testing.T) {
	rows := RaggedRows(64, 100)
	if p := Padding(rows, 4); p < 1.40 || p > 1.42 {
		t.Errorf("padding of batches of 4: %.3f, want GSM8K's 1.41", p)
	}
	for i, row := range rows {
		masked := 0
		for j, label := range row.Labels {
			if label < 0 {
				masked++
			} else if label != row.InputIDs[j] {
				t.Fatalf("row %d, token %d: label %d of id %d", i, j, label, row.InputIDs[j])
			}
		}
		if l := gsm8k[i]; masked != l[0] || len(row.InputIDs) != l[0]+l[1] {
			t.Errorf("row %d: %d of %d tokens masked, want %v", i, masked, len(row.InputIDs), l)
		}
	}
	if p := Padding(FullRows(8, 16, 100), 4); p != 1 {
		t.Errorf("rows of one length: padding %v", p)
	}
}

func TestOperationRows(t *testing.T) {
	rows := OperationRows([]Operation{
		{Name: "Linear", Shape: "[1,2]", Calls: 1234, Seconds: 2, FLOPs: 1e11, GFLOPs: 50, GBs: 1, Share: 0.9},
		{Name: "Small", Calls: 3, Seconds: 0.001, Share: 0.0005},
		{Name: Between, Seconds: 0.2, Share: 0.0995},
	}, Peak{SGEMM: 100, ReadBandwidth: 20})
	want := []string{"Linear [1,2]|1,234|2.000|90.0%|50.0|50%|1.0|5%", Between + "|0|0.200|10.0%||||", "the rest|3|0.001|0.1%||||"}
	for i, row := range rows[1:] {
		if got := strings.Join(row, "|"); i >= len(want) || got != want[i] {
			t.Errorf("row %d: %s", i, got)
		}
	}
	if len(rows) != 4 {
		t.Errorf("%d rows", len(rows))
	}
}
