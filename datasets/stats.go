package datasets

import (
	"context"
	"errors"
	"slices"
	"unicode/utf8"
)

// StatsOptions of [Measure].
type StatsOptions struct {
	// Encoder, when set, counts tokens as training would.
	Encoder *Encoder
	By      string // field whose values are counted as classes
	Workers int
}

// Stats describes a file: what `data stats` prints.
type Stats struct {
	File    string         `json:"file"`
	Rows    int            `json:"rows"`
	Bytes   int64          `json:"bytes"`
	Invalid int            `json:"invalid"` // rows that are not JSON objects
	Formats map[Format]int `json:"formats"`
	Roles   map[string]int `json:"roles,omitzero"` // messages by role
	Classes map[string]int `json:"classes,omitzero"`
	// PromptChars and AnswerChars are characters of what is asked and answered,
	// Turns the messages of a conversation.
	PromptChars Distribution `json:"prompt_chars,omitzero"`
	AnswerChars Distribution `json:"answer_chars,omitzero"`
	Turns       Distribution `json:"turns,omitzero"`
	// RowTokens is before truncation; Tokens and Trained are totals after it.
	RowTokens Distribution `json:"row_tokens,omitzero"`
	Tokens    int64        `json:"tokens,omitzero"`
	Trained   int64        `json:"trained,omitzero"`
	TooLong   int          `json:"too_long,omitzero"`
	Unusable  int          `json:"unusable,omitzero"` // rows the encoder refuses
}

// Distribution is the spread of a number over rows (nearest-rank percentiles).
type Distribution struct {
	Count int     `json:"count"`
	Mean  float64 `json:"mean"`
	Min   int     `json:"min"`
	P50   int     `json:"p50"`
	P90   int     `json:"p90"`
	P99   int     `json:"p99"`
	Max   int     `json:"max"`
}

// Measure reads all rows of f and returns its Stats. An empty file is no error.
func Measure(ctx context.Context, f *File, o StatsOptions) (Stats, error) {
	m := measuring{stats: Stats{File: f.Path(), Formats: map[Format]int{}}}
	newWork := func() func(*Row) rowStats {
		var d document
		return func(r *Row) rowStats { return measureRow(r, &d, o) }
	}
	if err := each(ctx, f, o.Workers, newWork, m.add); err != nil {
		return m.stats, err
	}
	m.stats.PromptChars, m.stats.AnswerChars = distribution(m.prompts), distribution(m.answers)
	m.stats.Turns, m.stats.RowTokens = distribution(m.turns), distribution(m.tokens)
	var fault *RowError
	if err := f.Wait(ctx); err != nil && !(errors.As(err, &fault) && m.stats.Rows == 0) {
		return m.stats, err
	}
	return m.stats, nil
}

// rowStats is what one row adds to the Stats; -1 is nothing.
type rowStats struct {
	bytes          int
	format         Format
	roles          []string
	prompt, answer int
	class          *string
	encoded        bool
	refused        bool
	uncut          int
	tokens         int
	trained        int
}

type measuring struct {
	stats                           Stats
	prompts, answers, turns, tokens []int
}

func (m *measuring) add(r rowStats) error {
	s := &m.stats
	s.Rows++
	s.Bytes += int64(r.bytes)
	s.Formats[r.format]++
	if r.format == FormatInvalid {
		s.Invalid++
	}
	for _, name := range r.roles {
		if s.Roles == nil {
			s.Roles = map[string]int{}
		}
		s.Roles[name]++
	}
	if r.roles != nil {
		m.turns = append(m.turns, len(r.roles))
	}
	if r.prompt >= 0 {
		m.prompts = append(m.prompts, r.prompt)
	}
	if r.answer >= 0 {
		m.answers = append(m.answers, r.answer)
	}
	if r.class != nil {
		if s.Classes == nil {
			s.Classes = map[string]int{}
		}
		s.Classes[*r.class]++
	}
	if r.refused {
		s.Unusable++
	}
	if r.encoded {
		m.tokens = append(m.tokens, r.uncut)
		s.Tokens += int64(r.tokens)
		s.Trained += int64(r.trained)
		if r.uncut > r.tokens {
			s.TooLong++
		}
	}
	return nil
}

func measureRow(r *Row, d *document, o StatsOptions) rowStats {
	l := r.detect(d)
	s := rowStats{bytes: len(r.Raw), format: l.format, prompt: -1, answer: -1}
	if l.messages != none {
		s.talk(d, l.messages, r.tags())
	} else {
		s.prompt, s.answer = chars(d, l.prompt, l.query), chars(d, l.response, l.text, l.chosen)
	}
	if o.By != "" {
		class := (&linter{d: document{raw: d.raw, nodes: d.nodes}}).classOf(o.By)
		s.class = &class
	}
	if o.Encoder == nil {
		return s
	}
	c, err := o.Encoder.codeDocument(*r, d, l)
	if s.refused = err != nil; !s.refused {
		s.encoded = true
		s.tokens, s.uncut, s.trained = len(c.sample.Tokens), len(c.sample.Tokens)+c.sample.Cut, c.sample.Trained()
	}
	return s
}

// talk counts a conversation: the assistant answers, everyone else asks.
func (s *rowStats) talk(d *document, list int32, tags *Tags) {
	s.roles = []string{}
	s.prompt, s.answer = 0, 0
	for n := range d.all(list) {
		t := readTurn(d, n, tags)
		s.roles = append(s.roles, t.name)
		if isAnswer(t) {
			s.answer += max(chars(d, t.content), 0)
		} else {
			s.prompt += max(chars(d, t.content), 0)
		}
	}
}

// chars counts the characters of all the values that are there; -1 when none is.
func chars(d *document, values ...int32) int {
	n := -1
	for _, v := range values {
		if v != none {
			n = max(n, 0) + utf8.RuneCountInString(d.text(v))
		}
	}
	return n
}

// distribution sorts values.
func distribution(values []int) Distribution {
	if len(values) == 0 {
		return Distribution{}
	}
	slices.Sort(values)
	rank := func(percent int) int { return values[max((percent*len(values)+99)/100, 1)-1] }
	return Distribution{
		Count: len(values), Mean: float64(sum(values)) / float64(len(values)),
		Min: values[0], P50: rank(50), P90: rank(90), P99: rank(99), Max: values[len(values)-1],
	}
}
