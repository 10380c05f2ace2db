package performance

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// File is what one machine gave on one day.
type File struct {
	Date      string      `json:"date"`
	Machine   string      `json:"machine"` // the processor
	Threads   int         `json:"threads"`
	Tier      string      `json:"tier"`
	Memory    int64       `json:"memory_total,omitempty"`
	Commit    string      `json:"commit,omitempty"`
	Notes     []string    `json:"notes,omitempty"` // what a reader has to know about these figures
	Train     []Train     `json:"train,omitempty"`
	Generate  []Generate  `json:"generate,omitempty"`
	Score     []Score     `json:"score,omitempty"`
	Tokenize  []Text      `json:"tokenize,omitempty"`
	Lint      []Text      `json:"lint,omitempty"`
	Start     []Start     `json:"start,omitempty"`
	Sweep     []Sweep     `json:"sweep,omitempty"`
	Workbench []Workbench `json:"workbench,omitempty"`
	Pairs     []Pair      `json:"pairs,omitempty"`

	name string
}

// Side is one program's part of a pair.
type Side struct {
	Name            string            `json:"name"`
	Versions        map[string]string `json:"versions,omitempty"`
	Unit            string            `json:"unit"`    // of Figures: tokens/s or MB/s
	Figures         []float64         `json:"figures"` // the median of each round
	Figure          float64           `json:"figure"`  // the median of the rounds
	StepSeconds     []float64         `json:"step_seconds,omitempty"`
	PeakMemory      int64             `json:"peak_memory,omitempty"`   // of the process, by getrusage
	StartSeconds    []float64         `json:"start_seconds,omitempty"` // process start to the end of step 1, less the median step
	Padding         float64           `json:"padding,omitempty"`       // tokens computed, of the rows' own
	LastLoss        float64           `json:"last_loss,omitempty"`
	ComputedIn      string            `json:"computed_in,omitempty"`
	ParametersGiven int64             `json:"parameters,omitempty"`
}

// Pair is one goal: a peer and lathe on the same checkpoint and rows, in turn.
type Pair struct {
	Goal        string    `json:"goal"`
	Date        string    `json:"date"`
	Work        string    `json:"work"` // in words
	Command     string    `json:"command"`
	Peer        Side      `json:"peer"`
	Lathe       Side      `json:"lathe"`
	Ratios      []float64 `json:"ratios"` // lathe's figure of the peer's, round by round
	Ratio       float64   `json:"ratio"`  // their median
	MemoryRatio float64   `json:"memory_ratio,omitempty"`
	StartRatio  float64   `json:"start_ratio,omitempty"`
}

// Compare fills in the ratios and medians of a pair's figures.
func (p *Pair) Compare() {
	p.Ratios = nil
	for i := range min(len(p.Lathe.Figures), len(p.Peer.Figures)) {
		p.Ratios = append(p.Ratios, p.Lathe.Figures[i]/p.Peer.Figures[i])
	}
	p.Lathe.Figure, p.Peer.Figure, p.Ratio = Median(p.Lathe.Figures), Median(p.Peer.Figures), Median(p.Ratios)
	if p.Peer.PeakMemory > 0 {
		p.MemoryRatio = float64(p.Lathe.PeakMemory) / float64(p.Peer.PeakMemory)
	}
	if s := Median(p.Peer.StartSeconds); s > 0 {
		p.StartRatio = Median(p.Lathe.StartSeconds) / s
	}
}

// Median is the middle of some values, the mean of the two middle ones of an even number, 0 of none.
func Median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// Add puts one line of `lathe bench --json`, or a pair of tools/peers, in its place: a result of the same work is replaced.
func (f *File) Add(line []byte) error {
	var head struct {
		Goal string `json:"goal"`
		Head
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return fmt.Errorf("read result: %w", err)
	}
	if head.What != "" && f.Machine == "" {
		f.Machine, f.Threads, f.Tier = head.Device, head.Threads, head.Tier
	}
	if f.Date == "" {
		f.Date = head.Date
	}
	switch what := head.What; {
	case head.Goal != "":
		return put(&f.Pairs, line, func(p Pair) string { return p.Goal })
	case what == WhatTrain:
		return put(&f.Train, line, func(r Train) string { return fmt.Sprint(r.Method, r.DType, r.Rows, r.Parameters, r.Batch, r.Length) })
	case what == WhatGenerate:
		return put(&f.Generate, line, func(r Generate) string { return fmt.Sprint(r.In4bit, r.Parameters, r.Tokens) })
	case what == WhatScore:
		return put(&f.Score, line, func(r Score) string { return fmt.Sprint(r.Parameters) })
	case what == WhatTokenize:
		return put(&f.Tokenize, line, func(r Text) string { return r.Tokenizer + r.Source })
	case what == WhatLint:
		return put(&f.Lint, line, func(r Text) string { return r.Source })
	case what == WhatStart:
		return put(&f.Start, line, func(r Start) string { return fmt.Sprint(r.Method, r.Parameters) })
	case what == WhatSweep:
		return put(&f.Sweep, line, func(r Sweep) string { return r.Over + r.Method })
	case what == WhatWorkbench:
		return put(&f.Workbench, line, func(r Workbench) string { return fmt.Sprint(r.Size, r.Length, r.Rows) })
	default:
		return fmt.Errorf("read result: what is %q: want a line of `lathe bench --json` or of tools/peers", what)
	}
}

func put[T any](list *[]T, line []byte, key func(T) string) error {
	var result T
	if err := json.Unmarshal(line, &result); err != nil {
		return fmt.Errorf("read result: %w", err)
	}
	if i := slices.IndexFunc(*list, func(old T) bool { return key(old) == key(result) }); i >= 0 {
		(*list)[i] = result
		return nil
	}
	*list = append(*list, result)
	return nil
}

// AddAll adds JSON lines.
func (f *File) AddAll(r io.Reader) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<24)
	for n := 1; s.Scan(); n++ {
		if line := bytes.TrimSpace(s.Bytes()); len(line) > 0 {
			if err := f.Add(line); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
		}
	}
	return s.Err()
}

// Load reads a file of docs/performance; one that is not there is empty.
func Load(path string) (*File, error) {
	f := &File{name: filepath.Base(path)}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err == nil {
		err = json.Unmarshal(text, f)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return f, nil
}

// LoadAll reads a folder's files, the newest first.
func LoadAll(dir string) ([]*File, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var files []*File
	for _, path := range paths {
		f, err := Load(path)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b *File) int {
		return cmp.Or(strings.Compare(b.Date, a.Date), strings.Compare(a.name, b.name))
	})
	return files, nil
}

// Save writes the file under another name first.
func (f *File) Save(path string) error {
	text, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return WriteFile(path, append(collapse(text), '\n'))
}

// numbers is an indented list of numbers alone.
var numbers = regexp.MustCompile(`\[\s+(-?[0-9.e+-]+(?:,\s+-?[0-9.e+-]+)*)\s+\]`)

// collapse puts lists of numbers on one line.
func collapse(text []byte) []byte {
	return numbers.ReplaceAllFunc(text, func(list []byte) []byte {
		return []byte("[" + strings.Join(strings.Fields(string(list[1:len(list)-1])), " ") + "]")
	})
}

// WriteFile writes a whole file or nothing.
func WriteFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
