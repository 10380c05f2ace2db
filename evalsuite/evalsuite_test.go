package evalsuite

import (
	"math"
	"strings"
	"testing"
)

// The reference values are statsmodels' proportion_confint(k, n, method="wilson") for the same pairs, as printed by version
// 0.15 with 6 digits; 1e-6 is that rounding.
func TestWilson(t *testing.T) {
	for _, c := range []struct {
		hits, n   int
		low, high float64
	}{
		{0, 10, 0, 0.277533},
		{10, 10, 0.722467, 1},
		{50, 100, 0.403832, 0.596168},
	} {
		low, high := Wilson(c.hits, c.n)
		if math.Abs(low-c.low) > 1e-6 || math.Abs(high-c.high) > 1e-6 {
			t.Errorf("Wilson(%d, %d) = %.6f, %.6f; want %.6f, %.6f", c.hits, c.n, low, high, c.low, c.high)
		}
	}
	if low, high := Wilson(0, 0); low != 0 || high != 1 {
		t.Errorf("no sample says nothing: got [%g, %g], want [0, 1]", low, high)
	}
}

func TestNormalizeAsSQuAD(t *testing.T) {
	for in, want := range map[string]string{
		"The  cat, sat.": "cat sat", "an Apple": "apple", "theatre": "theatre", "": "", "A-B": "ab",
	} {
		if got := Normalize(in); got != want {
			t.Errorf("Normalize(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestReport(t *testing.T) {
	scorer, err := NewScorer([]KPI{{Name: "format", Regex: `(?s)^Hello.*Next step: `}, {Name: "exact", Exact: true}})
	if err != nil {
		t.Fatal(err)
	}
	answers := []Answer{
		{Text: "Hello there.\nNext step: write.", Case: Case{Reference: "hello there next step write"}},
		{Text: "No.", Case: Case{Reference: "Yes."}},
	}
	for i := range answers {
		scorer.Judge(&answers[i])
	}
	report := scorer.Report(answers)
	for _, name := range []string{"format", "exact"} {
		if s, ok := report.Score(name); !ok || s.Value != 0.5 || s.N != 2 {
			t.Errorf("%s = %+v, want 0.5 of 2", name, s)
		}
	}
	if _, ok := report.Score("bleu"); ok {
		t.Error("a metric that was not measured was found")
	}
}

func TestBadKPI(t *testing.T) {
	for want, k := range map[string]KPI{"kpi \"f\": error parsing": {Name: "f", Regex: "("}, "measures nothing": {Name: "g"}} {
		if _, err := NewScorer([]KPI{k}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewScorer(%+v) = %v, want %q", k, err, want)
		}
	}
}
