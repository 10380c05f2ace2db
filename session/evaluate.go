package session

import (
	"fmt"
	"math"

	"lathe/datasets"
	"lathe/evalsuite"
	"lathe/model"
	"lathe/trainer"
)

// Suite is what an evaluation asks and how it scores.
type Suite struct {
	Name         string           `json:"name"`
	KPIs         []evalsuite.KPI  `json:"kpis"`
	Cases        []evalsuite.Case `json:"cases"`
	MaxNewTokens int              `json:"max_new_tokens"`
}

// Validation is the suite without cases: perplexity over the run's validation rows alone.
var Validation = Suite{Name: "validation"}

// evaluate runs a suite on versions of the model, one after the other.
func (s *Session) evaluate(v View, c Evaluate) error {
	scorer, err := evalsuite.NewScorer(c.Suite.KPIs)
	if err != nil {
		return err
	}
	run := v.Run
	s.publish(run.ID, EvalProgress{Version: c.Versions[0], Total: len(c.Suite.Cases)})
	go func() {
		for _, version := range c.Versions {
			err := s.engine.ask(s.ctx, func(live *trainer.Live) error {
				return s.evaluateVersion(live, run, version, c.Suite, scorer)
			})
			if err != nil {
				s.post(run.ID, Noted{Level: datasets.LevelError, Text: fmt.Sprintf("evaluate %s: %v", VersionName(version), err)})
			}
		}
		s.post(run.ID, EvalProgress{})
	}()
	return nil
}

// evaluateVersion answers every case greedily, scores the answers and measures perplexity on the validation rows.
func (s *Session) evaluateVersion(live *trainer.Live, run RunView, version string, suite Suite, scorer *evalsuite.Scorer) error {
	return withVersion(live, version, func(m *model.Model) error {
		texts, err := s.answers(m, live.Encoder, version, suite, run.ID)
		if err != nil {
			return err
		}
		answers := make([]evalsuite.Answer, len(texts))
		for i, text := range texts {
			answers[i] = evalsuite.Answer{Case: suite.Cases[i], Text: text}
			scorer.Judge(&answers[i])
		}
		report := scorer.Report(answers)
		loss, tokens, err := live.Evaluate(s.ctx, m)
		if err != nil {
			return err
		}
		if tokens > 0 {
			report.Perplexity = math.Exp(loss)
		}
		s.post(run.ID, Evaluated{Version: version, Step: versionStep(run, version, live.Step), Report: report})
		return nil
	})
}

// answers generates greedily for every case, all of them together.
func (s *Session) answers(m *model.Model, e *datasets.Encoder, version string, suite Suite, run int64) ([]string, error) {
	if len(suite.Cases) == 0 {
		return nil, nil
	}
	prompts := make([][]int32, len(suite.Cases))
	for i, c := range suite.Cases {
		ids, err := chatPrompt(e, c.Prompt)
		if err != nil {
			return nil, err
		}
		prompts[i] = ids
	}
	o := model.GenerateOptions{MaxNewTokens: suite.MaxNewTokens}
	results, err := m.GenerateBatch(s.ctx, prompts, o, func(done int) {
		s.post(run, EvalProgress{Version: version, Done: done, Total: len(prompts)})
	})
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(results))
	for i, r := range results {
		if texts[i], err = decodeAnswer(e, r.IDs); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// versionStep is the step at which a version was saved: 0 for the base.
func versionStep(run RunView, version string, live int) int {
	switch version {
	case VersionBase:
		return 0
	case VersionLive:
		return live
	}
	for _, saved := range run.Saved {
		if saved.Path == version {
			return saved.Step
		}
	}
	return 0
}
