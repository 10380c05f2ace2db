package session

import (
	"encoding/json"
	"fmt"

	"lathe/datasets"
	"lathe/model"
	"lathe/trainer"
)

// defaultMaxNewTokens bounds an answer that nobody bounded.
const defaultMaxNewTokens = 256

// prompt asks each version the same thing with the same seed, one after the other.
func (s *Session) prompt(v View, c Prompt) error {
	if c.Options.MaxNewTokens == 0 {
		c.Options.MaxNewTokens = defaultMaxNewTokens
	}
	group := s.newID()
	var plays []Play
	for _, version := range c.Versions {
		p := Play{ID: s.newID(), Group: group, Version: version, Step: v.Run.Step, Prompt: c.Text, Options: c.Options}
		s.publish(v.Run.ID, PlayStarted{Play: p})
		plays = append(plays, p)
	}
	go func() {
		for _, p := range plays {
			if s.isStopped(p) {
				p.Finish = FinishStopped
				s.post(v.Run.ID, PlayDone{Play: p})
				continue
			}
			err := s.engine.ask(s.ctx, func(live *trainer.Live) error { return s.play(live, &p) })
			if err != nil {
				p.Err = err.Error()
			}
			s.post(v.Run.ID, PlayDone{Play: p})
		}
	}()
	return nil
}

// isStopped tells whether StopAnswers has come after the play began.
func (s *Session) isStopped(p Play) bool { return p.ID <= s.stopped.Load() }

// play writes one answer, telling each token as it comes.
func (s *Session) play(live *trainer.Live, p *Play) error {
	if s.isStopped(*p) { // while it waited for the step's end
		p.Finish = FinishStopped
		return nil
	}
	ids, err := chatPrompt(live.Encoder, p.Prompt)
	if err != nil {
		return err
	}
	return withVersion(live, p.Version, func(m *model.Model) error {
		text, err := newAnswer(live.Encoder)
		if err != nil {
			return err
		}
		o := model.GenerateOptions{
			MaxNewTokens: p.Options.MaxNewTokens, Temperature: p.Options.Temperature,
			TopP: p.Options.TopP, TopK: p.Options.TopK, Seed: p.Options.Seed,
		}
		result, err := m.Generate(s.ctx, ids, o, func(id int32, logprob float32) bool {
			piece := text.push(id)
			p.Text += piece
			p.Tokens = append(p.Tokens, PlayPiece{piece, logprob})
			s.post(0, PlayToken{ID: p.ID, Text: piece, LogProb: logprob})
			return !s.isStopped(*p)
		})
		p.Text += text.flush()
		p.Finish, p.TokensPerSecond = result.FinishReason, result.TokensPerSecond
		if s.isStopped(*p) {
			p.Finish = FinishStopped
		}
		return err
	})
}

// withVersion gives a job the view of the model that a version names.
func withVersion(live *trainer.Live, version string, job func(*model.Model) error) error {
	switch version {
	case VersionLive:
		return job(live.Model)
	case VersionBase:
		return job(live.Model.With(nil))
	}
	adapter, err := model.LoadAdapter(live.Model, version)
	if err != nil {
		return fmt.Errorf("load checkpoint: %w", err)
	}
	defer adapter.Free()
	return job(live.Model.With(adapter))
}

// chatPrompt is what a user's message becomes: rendered by the chat template, or as it is where the model has none.
func chatPrompt(e *datasets.Encoder, text string) ([]int32, error) {
	if e == nil || e.Tokenizer == nil {
		return nil, errNoWords
	}
	if e.Renderer == nil {
		return e.Tokenizer.Encode(text, true), nil
	}
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	request, err := json.Marshal(struct {
		Messages []message `json:"messages"`
		Generate bool      `json:"add_generation_prompt"`
	}{[]message{{"user", text}}, true})
	if err != nil {
		return nil, fmt.Errorf("render prompt: %w", err)
	}
	rendered, _, err := e.Renderer.Render(request)
	if err != nil {
		return nil, fmt.Errorf("render prompt: %w", err)
	}
	return e.Tokenizer.Encode(rendered, false), nil
}
