// Package evalsuite scores what a model answered: suites of cases, metrics with confidence intervals, and reports. It knows
// neither models nor devices: whoever runs the model hands the answers in.
package evalsuite

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// Case is one held-out prompt.
type Case struct {
	ID string `json:"id"`
	// Prompt is what the user says; Reference is what a good answer reads, empty when only form is scored.
	Prompt    string `json:"prompt"`
	Reference string `json:"reference,omitempty"`
	Category  string `json:"category,omitempty"`
}

// Answer is what a version of the model said to a case.
type Answer struct {
	Case   Case   `json:"case"`
	Text   string `json:"text"`
	Scores []bool `json:"scores"` // one per KPI of the suite
}

// KPI is a yes-or-no measure of an answer.
type KPI struct {
	Name string `json:"name" yaml:"name"`
	// Regex that the whole answer has to match somewhere; (?s) and anchors are the writer's business.
	Regex string `json:"regex,omitempty" yaml:"regex"`
	// Exact asks for the reference's text, after SQuAD's normalisation.
	Exact bool `json:"exact,omitempty" yaml:"exact"`
}

// Score is one metric of a report: a mean in [Low, High] with 95% confidence over N answers.
type Score struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	N     int     `json:"n"`
}

// Report is a suite's result on one version of a model.
type Report struct {
	Scores []Score `json:"scores"`
	// Perplexity on the held-out rows is exp of the token-weighted mean loss; 0 when it was not measured.
	Perplexity float64  `json:"perplexity,omitempty"`
	Answers    []Answer `json:"answers"`
}

// Score returns the metric called name.
func (r Report) Score(name string) (Score, bool) {
	i := slices.IndexFunc(r.Scores, func(s Score) bool { return s.Name == name })
	if i < 0 {
		return Score{}, false
	}
	return r.Scores[i], true
}

// Scorer holds a suite's KPIs, compiled.
type Scorer struct {
	kpis    []KPI
	regexes []*regexp.Regexp
}

// NewScorer compiles KPIs; a regex that does not compile is an error naming its KPI.
func NewScorer(kpis []KPI) (*Scorer, error) {
	s := &Scorer{kpis: kpis, regexes: make([]*regexp.Regexp, len(kpis))}
	for i, k := range kpis {
		if k.Regex == "" && !k.Exact {
			return nil, fmt.Errorf("kpi %q measures nothing: give it a regex or exact: true", k.Name)
		}
		if k.Regex == "" {
			continue
		}
		re, err := regexp.Compile(k.Regex)
		if err != nil {
			return nil, fmt.Errorf("kpi %q: %w", k.Name, err)
		}
		s.regexes[i] = re
	}
	return s, nil
}

// Judge fills the answer's Scores.
func (s *Scorer) Judge(a *Answer) {
	a.Scores = make([]bool, len(s.kpis))
	for i, k := range s.kpis {
		matches := s.regexes[i] == nil || s.regexes[i].MatchString(a.Text)
		equal := !k.Exact || Normalize(a.Text) == Normalize(a.Case.Reference)
		a.Scores[i] = matches && equal
	}
}

// Report sums judged answers up.
func (s *Scorer) Report(answers []Answer) Report {
	r := Report{Answers: answers, Scores: make([]Score, len(s.kpis))}
	for i, k := range s.kpis {
		hits := 0
		for _, a := range answers {
			if a.Scores[i] {
				hits++
			}
		}
		low, high := Wilson(hits, len(answers))
		r.Scores[i] = Score{Name: k.Name, Low: low, High: high, N: len(answers)}
		if len(answers) > 0 {
			r.Scores[i].Value = float64(hits) / float64(len(answers))
		}
	}
	return r
}

// Wilson is the 95% score interval of a rate (Wilson 1927); [0,1] without a sample.
func Wilson(hits, n int) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	const z = 1.959963984540054 // the normal distribution's 97.5% point
	p, m := float64(hits)/float64(n), float64(n)
	centre := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return max(0, centre-half), min(1, centre+half)
}

var (
	articles    = regexp.MustCompile(`\b(a|an|the)\b`)
	punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
)

// Normalize is SQuAD's normalisation: lower case, no ASCII punctuation, no articles, single spaces.
func Normalize(s string) string {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune(punctuation, r) {
			return -1
		}
		return r
	}, strings.ToLower(s))
	return strings.Join(strings.Fields(articles.ReplaceAllString(s, " ")), " ")
}
