package parity

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"lathe/internal/reftest"
)

// peerResults is testdata/peer/results.json: what tools/peercheck measured when PEFT, transformers and the adapters library read
// what lathe wrote, and lathe what they wrote.
type peerResults struct {
	Date     string
	Versions map[string]string
	Adapters map[string]string `json:"versions_adapters"`
	Rows     []peerRow
}

// peerRow is one family, method and direction.
type peerRow struct {
	Family, Method, Direction string
	Worst                     *float64 // largest difference of a log-probability; nil where a program failed
	Tolerance                 float64
	OK, Explained             bool
	Note                      string
	Run                       map[string]any // run.yaml of what lathe trained, with paths relative to testdata/ref
	Layout                    *layout
}

// layout is what of an adapter's files must not change.
type layout struct {
	ConfigKeys string `json:"adapter_config_keys"`
	Tensors    string
}

const peerFile = "../../testdata/peer/results.json"

func readPeer(t testing.TB) (p peerResults) {
	reftest.ReadJSON(t, peerFile, &p)
	return p
}

// peerMethod is what peercheck calls a run of testdata/ref.
var peerMethod = map[string]string{"lora-qv-rslora": "rslora"}

// theyRead are peercheck's directions of the columns' second part.
var theyRead = map[string][]string{columnAdapter: directions[0].names, columnMerged: directions[2].names}

// find is the row of a run in one of some directions.
func (p peerResults) find(folder, run string, directions []string) (peerRow, bool) {
	if name, ok := peerMethod[run]; ok {
		run = name
	}
	for _, r := range p.Rows {
		if r.Family == folder && r.Method == run && slices.Contains(directions, r.Direction) {
			return r, true
		}
	}
	return peerRow{}, false
}

// figure is the largest difference of a log-probability that peercheck found.
func (p peerResults) figure(t testing.TB, column string, m method) figure {
	t.Helper()
	r, ok := p.find(m.base, m.run, theyRead[column])
	if !ok {
		t.Errorf("%s has no row of %s, %s, %s; run tools/peercheck/run.sh --results", peerFile, m.base, m.run, strings.Join(theyRead[column], " or "))
	}
	return r.figure(t)
}

func (r peerRow) figure(t testing.TB) figure {
	t.Helper()
	switch {
	case r.Explained:
		return explained(r.Note)
	case r.Worst == nil || !r.OK:
		t.Errorf("%s: %s, %s, %s failed: %s", peerFile, r.Family, r.Method, r.Direction, r.Note)
		return explained("failed")
	}
	return figure{value: *r.Worst, stored: true}
}

// where says when and with what peercheck ran.
func (p peerResults) where() string {
	return fmt.Sprintf(" on %s with %s; and %s", p.Date, versions(p.Versions), versions(p.Adapters))
}

func versions(of map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		list = append(list, name+" "+of[name])
	}
	return strings.Join(list, ", ")
}

// Directions of peercheck, by the columns of the tables below.
var directions = []struct {
	title string
	names []string
	part  part
}{
	{"they read ours", []string{"lathe → PEFT", "lathe → adapters", "lathe → transformers"}, peerPart},
	{"we read theirs", []string{"PEFT → lathe", "adapters → lathe", "transformers → lathe"}, peerPart},
	{"we merge, transformers reads", []string{"lathe, merged → transformers"}, peerPart},
	{"PEFT merges, we read", []string{"PEFT, merged → lathe"}, peerPart},
	{"we go on from theirs, they read", []string{"PEFT → lathe → PEFT", "adapters → lathe → adapters"}, peerPart},
}

var peerPart = part{"", 1e-4, "absolute"}

// worst is the largest difference of the rows of a family ("": every one), a method and some directions.
func (p peerResults) worst(t testing.TB, family, method string, names []string, absent string) figure {
	t.Helper()
	f, seen := figure{stored: true}, false
	for _, r := range p.Rows {
		if family != "" && r.Family != family || r.Method != method || !slices.Contains(names, r.Direction) {
			continue
		}
		one := r.figure(t)
		if one.note != "" {
			if family != "" {
				return one
			}
			continue // the table by family explains it
		}
		f.value, seen = max(f.value, one.value), true
	}
	if !seen && absent == "" {
		t.Errorf("%s has no row of %s, %s, %s; run tools/peercheck/run.sh --results", peerFile, family, method, strings.Join(names, " or "))
	}
	if !seen {
		return explained(absent)
	}
	return f
}

// peerFamilies are the methods that every family is checked with, and why one is not.
var peerFamilies = []struct{ method, absent string }{
	{"full", ""},
	{"lora", ""},
	{"qlora", ""},
	{"dora", ""},
	{"lora, PEFT's layers", ""},
	{"prefix", ""},
	{"houlsby", whyLibrary},
	{"pfeiffer", whyLibrary},
	{"pre-quantised nf4-double", whyFalcon4},
}

const (
	whyLibrary = "the adapters library does not know this family by itself"
	whyRotary  = "other rotations alone; measured on LLaMA's first rows"
	whyOld     = "there is no config of transformers 4 beside it; LLaMA's other rows have one"
	whyFalcon4 = "transformers 5.23 quantises no layer of a Falcon, so that it writes no such checkpoint"
	whyOtherIO = "the method has no such file: a full run and a checkpoint in 4 bits are the model itself, bottlenecks and prefixes do not merge"
	whyNoMerge = "PEFT would merge into 4-bit weights and round them again; lathe merges into the weights that the bits stand for"
)

// fileTable is every family with the methods that all have, both ways, as peercheck measured it.
func fileTable(p peerResults) table[string] {
	tb := table[string]{title: "Files, by family", first: "folder of testdata/ref", name: func(f string) string { return f }}
	for _, r := range p.Rows {
		if !slices.Contains(tb.rows, r.Family) {
			tb.rows = append(tb.rows, r.Family)
		}
	}
	both := []part{peerPart.named("they read ours"), peerPart.named("we read theirs")}
	for _, m := range peerFamilies {
		tb.columns = append(tb.columns, column[string]{m.method, both, func(t testing.TB, f string) []figure {
			absent := m.absent
			if absent == whyLibrary && strings.HasPrefix(f, "llama") {
				absent = whyRotary
			}
			return []figure{p.worst(t, f, m.method, directions[0].names, absent), p.worst(t, f, m.method, directions[1].names, absent)}
		}})
	}
	tb.columns = append(tb.columns, column[string]{"full, from an old config.json: transformers 4 reads ours", []part{peerPart}, p.old})
	return tb
}

// old is a full run from a base with a config.json of transformers 4, read by that.
func (p peerResults) old(t testing.TB, family string) []figure {
	absent := ""
	if !exists(ref(family, "dump", "config.v4.json")) {
		absent = whyOld
	}
	return []figure{p.worst(t, family, "full", []string{"lathe → transformers 4"}, absent)}
}

// directionTable is every method in every direction, the worst of its families.
func directionTable(p peerResults) table[string] {
	families := map[string]map[string]bool{}
	tb := table[string]{title: "Files, by method", first: "method of tools/peercheck (families)"}
	for _, r := range p.Rows {
		if r.Method == "base" {
			continue
		}
		if families[r.Method] == nil {
			families[r.Method] = map[string]bool{}
			tb.rows = append(tb.rows, r.Method)
		}
		families[r.Method][r.Family] = true
	}
	tb.name = func(m string) string { return fmt.Sprintf("%s (%d)", m, len(families[m])) }
	for _, d := range directions {
		tb.columns = append(tb.columns, column[string]{d.title, []part{d.part}, func(t testing.TB, m string) []figure {
			absent := whyOtherIO
			if d.title == "PEFT merges, we read" && strings.HasPrefix(m, "q") {
				absent = whyNoMerge
			}
			return []figure{p.worst(t, "", m, d.names, absent)}
		}})
	}
	return tb
}
