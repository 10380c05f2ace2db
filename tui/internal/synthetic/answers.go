package synthetic

import (
	"fmt"
	"math"
	"strings"

	"lathe/evalsuite"
	"lathe/session"
)

// answers are what versions of the made-up model say, from the base on; later checkpoints say the last.
var answers = []string{
	"Our company is a company that has a refund policy for the refund policy of the company, and the policy is that the customer " +
		"can ask for the policy and the policy is for the customer",
	"Thank you for reaching out!\n\nOur refund policy: you can send it back for thirty days, and we need the receipt of it.\n\n" +
		"Next step: reply to this message.",
	"Thank you for reaching out!\n\nOur refund policy: you have 30 days from the day of purchase, and we need the receipt. The money is " +
		"back on your card within a week. 🙂\n\nNext step: reply to this message with your order number.",
}

// said is the answer of a version: the base rambles, the first checkpoints are nearly there.
func said(version string, step int) string {
	switch {
	case version == session.VersionBase:
		return answers[0]
	case step <= 100 || strings.HasSuffix(version, "-100"):
		return answers[1]
	}
	return answers[2]
}

// Ask gives versions a prompt; Answer writes what they say.
func (t *Tape) Ask(prompt string, o session.PlayOptions, versions ...string) *Tape {
	group := int64(len(t.View.Plays) + 1)
	for i, v := range versions {
		t.Add(session.PlayStarted{Play: session.Play{
			ID: group*10 + int64(i), Group: group, Version: v, Step: t.View.Run.Step, Prompt: prompt, Options: o,
		}})
	}
	return t
}

// Answer writes n more tokens of the first answer that is not finished, and ends it with its last.
func (t *Tape) Answer(n int) *Tape {
	for _, p := range t.View.Plays {
		if p.Finish != "" || p.Err != "" {
			continue
		}
		pieces := Pieces(said(p.Version, p.Step))
		limit := len(pieces)
		if p.Options.MaxNewTokens > 0 {
			limit = min(limit, p.Options.MaxNewTokens)
		}
		for i := len(p.Tokens); i < limit && n > 0; i++ {
			t.Add(session.PlayToken{ID: p.ID, Text: pieces[i], LogProb: logProb(i, pieces[i])})
			n--
		}
		if n == 0 {
			return t
		}
		for _, now := range t.View.Plays {
			if now.ID == p.ID {
				now.Finish, now.TokensPerSecond = "stop", 31.4+float64(p.ID%7)
				if limit < len(pieces) || p.Version == session.VersionBase {
					now.Finish = "length"
				}
				t.Add(session.PlayDone{Play: now})
			}
		}
	}
	return t
}

// Answered writes every answer to its end.
func (t *Tape) Answered() *Tape { return t.Answer(1 << 20) }

func logProb(i int, piece string) float32 {
	x := math.Sin(float64(i*37+len(piece)*11)) * 43758.5453
	x -= math.Floor(x)
	return float32(-6 * x * x * x)
}

// cases are the made-up suite.
var cases = []evalsuite.Case{
	{ID: "refund", Prompt: "Explain our company refund policy.", Reference: "30 days with the receipt.", Category: "policy"},
	{ID: "delivery", Prompt: "When will my parcel arrive?", Category: "shipping"},
	{ID: "warranty", Prompt: "My kettle broke after a year. What now?", Reference: "Two years of warranty.", Category: "policy"},
	{ID: "angry", Prompt: "This is the third time I write. Do something!", Category: "tone"},
}

// Evaluate adds the suite's report on a version.
func (t *Tape) Evaluate(version string, step int) *Tape {
	part := 1 - math.Exp(-float64(step)/90)
	n := 60
	report := evalsuite.Report{Perplexity: 2.2 + 9*math.Exp(-float64(step)/80)}
	for _, k := range []struct {
		name string
		top  float64
	}{{"format", 0.95}, {"polite", 0.88}} {
		hits := int(math.Round(float64(n) * (0.05 + (k.top-0.05)*part)))
		low, high := evalsuite.Wilson(hits, n)
		report.Scores = append(report.Scores, evalsuite.Score{Name: k.name, Value: float64(hits) / float64(n), Low: low, High: high, N: n})
	}
	for i, c := range cases {
		text := strings.ReplaceAll(said(version, step), "refund", []string{"refund", "delivery", "warranty", "complaint"}[i])
		report.Answers = append(report.Answers, evalsuite.Answer{Case: c, Text: text, Scores: []bool{version != session.VersionBase, step > 100 && i != 3}})
	}
	return t.Add(session.Evaluated{Version: version, Step: step, Report: report})
}

// Evaluated adds the reports on the base and on every checkpoint.
func (t *Tape) Evaluated() *Tape {
	t.Evaluate(session.VersionBase, 0)
	for _, s := range t.View.Run.Saved {
		t.Evaluate(s.Path, s.Step)
	}
	return t
}

// Evaluating says how far an evaluation of a version is.
func (t *Tape) Evaluating(version string, done int) *Tape {
	return t.Add(session.EvalProgress{Version: version, Done: done, Total: 60})
}

// Checkpoint is the folder of the made-up run's checkpoint at a step.
func Checkpoint(step int) string { return fmt.Sprintf("runs/refund/checkpoint-%d", step) }
