package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"lathe/session"
	"lathe/trainer"
)

// Scene is one part of the demo, told to whoever watches.
type Scene struct {
	// Pane is where it can be seen: "data", "train", "playground", "compare", "memory".
	Pane string
	Text string
}

// Measure is what one version of the model scored.
type Measure struct {
	Version    string  `json:"version"`
	Step       int     `json:"step"`
	Format     float64 `json:"format"`
	Low        float64 `json:"format_low"`
	High       float64 `json:"format_high"`
	N          int     `json:"n"`
	Perplexity float64 `json:"perplexity"`
}

// Result is the demo's outcome, in the words of the `demo` event.
type Result struct {
	Event   string    `json:"event"`
	Before  Measure   `json:"before"`
	After   Measure   `json:"after"`
	Epochs  []Measure `json:"epochs"`
	Adapter string    `json:"adapter"`
	Seconds float64   `json:"seconds"`
	// Answers are the base's, the paused model's and each epoch's to [Question].
	Answers []session.Play `json:"-"`
	Final   session.View   `json:"-"`
}

// script is a demo under way.
type script struct {
	ctx   context.Context
	s     *session.Session
	files Files
	show  func(Scene)
}

// errStopped says that the user ended the run before the demo was over.
var errStopped = errors.New("the run was stopped: the demo ends here")

// Play drives the session through the whole job. What the user does meanwhile is fine: a pause taken by hand only means that
// the demo waits with them.
func Play(ctx context.Context, s *session.Session, files Files, show func(Scene)) (Result, error) {
	start := time.Now()
	d := &script{ctx: ctx, s: s, files: files, show: show}
	r := Result{Event: "demo"}
	for _, act := range []func(*Result) error{d.check, d.train, d.evaluate, d.compare, d.export} {
		if err := act(&r); err != nil {
			return r, err
		}
	}
	r.Seconds = time.Since(start).Seconds()
	r.Final = s.View()
	r.Answers = r.Final.Plays
	return r, nil
}

func (d *script) wait(condition func(session.View) bool) (session.View, error) {
	return d.s.Wait(d.ctx, condition)
}

// check opens the data and looks for faults.
func (d *script) check(*Result) error {
	d.show(Scene{"data", "The data: what will be trained, and what is wrong with it"})
	cfg, err := trainer.LoadConfig(d.files.Config)
	if err != nil {
		return err
	}
	if err := d.s.Do(session.LoadConfig{Path: d.files.Config, Config: cfg}); err != nil {
		return err
	}
	if _, err := d.wait(func(v session.View) bool { return v.Data.Indexed }); err != nil {
		return err
	}
	if err := d.s.Do(session.Lint{}); err != nil {
		return err
	}
	v, err := d.wait(func(v session.View) bool { return v.Data.Summary != nil && !v.Data.Linting })
	if err != nil {
		return err
	}
	if v.Data.Summary.Errors > 0 {
		return fmt.Errorf("the built-in data have %d errors: this lathe is broken", v.Data.Summary.Errors)
	}
	return nil
}

// train runs both epochs, with a pause after a third in which the base and the half-trained model are asked.
func (d *script) train(*Result) error {
	d.show(Scene{"train", "Training a LoRA on the 4-bit model; space pauses and resumes"})
	cfg, err := trainer.LoadConfig(d.files.Config)
	if err != nil {
		return err
	}
	if err := d.s.Do(session.Start{Name: "demo", Config: cfg}); err != nil {
		return err
	}
	v, err := d.wait(func(v session.View) bool {
		return begun(v) && (!v.Run.State.Active() || v.Run.Step >= v.Run.TotalSteps/3 && v.Run.TotalSteps > 0)
	})
	if err != nil {
		return err
	}
	if v.Run.State.Training() {
		if err := d.pauseAndAsk(); err != nil {
			return err
		}
	}
	v, err = d.wait(func(v session.View) bool { return !v.Run.State.Active() })
	switch {
	case err != nil:
		return err
	case v.Run.State == session.Failed:
		return errors.New(v.Run.Reason)
	case v.Run.State == session.Stopped:
		return errStopped
	}
	return nil
}

// begun tells that the demo's own run is in front.
func begun(v session.View) bool { return v.Run.Name == "demo" }

// pauseAndAsk pauses the run, asks the base and the half-trained model, and resumes. A refusal only means that the user was
// quicker.
func (d *script) pauseAndAsk() error {
	_ = d.s.Do(session.Pause{})
	if _, err := d.wait(func(v session.View) bool { return v.Run.State == session.Paused || !v.Run.State.Active() }); err != nil {
		return err
	}
	d.show(Scene{"playground", "Paused: the same question to the base and to the half-trained adapter"})
	for _, version := range []string{session.VersionBase, session.VersionLive} { // one by one: pairs are Compare's
		if err := d.ask(version); err != nil {
			return err
		}
	}
	d.show(Scene{"train", "Resumed: the same bits as if nothing had happened"})
	_ = d.s.Do(session.Resume{})
	return nil
}

// ask puts the question to versions and waits for their answers.
func (d *script) ask(versions ...string) error {
	known := len(d.s.View().Plays)
	if err := d.s.Do(session.Prompt{Text: Question, Versions: versions, Options: session.PlayOptions{MaxNewTokens: 96}}); err != nil {
		return err
	}
	v, err := d.wait(func(v session.View) bool {
		if len(v.Plays) < known+len(versions) {
			return false
		}
		for _, p := range v.Plays[known:] {
			if p.Finish == "" && p.Err == "" {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, p := range v.Plays[known:] {
		if p.Err != "" {
			return fmt.Errorf("ask %s: %s", session.VersionName(p.Version), p.Err)
		}
	}
	return nil
}

// evaluate measures the base and every epoch on the held-out prompts.
func (d *script) evaluate(r *Result) error {
	d.show(Scene{"compare", "Held-out prompts: the base against both epochs"})
	suite, err := d.files.Suite()
	if err != nil {
		return err
	}
	versions := []string{session.VersionBase}
	for _, saved := range d.s.View().Run.Saved {
		if saved.Path != d.files.OutputDir { // the final state is the last epoch's
			versions = append(versions, saved.Path)
		}
	}
	if err := d.s.Do(session.Evaluate{Versions: versions, Suite: suite}); err != nil {
		return err
	}
	v, err := d.wait(func(v session.View) bool { return v.Evaluating == "" })
	if err != nil {
		return err
	}
	if len(v.Reports) < len(versions) {
		return fmt.Errorf("%d of %d versions could be evaluated: %s", len(v.Reports), len(versions), v.Log[len(v.Log)-1].Text)
	}
	for i, e := range v.Reports[len(v.Reports)-len(versions):] {
		m := measure(e)
		if i == 0 {
			r.Before = m
			continue
		}
		r.Epochs = append(r.Epochs, m)
		r.After = m
	}
	return nil
}

func measure(e session.Evaluated) Measure {
	score, _ := e.Report.Score("format")
	return Measure{
		Version: session.VersionName(e.Version), Step: e.Step, Format: score.Value, Low: score.Low, High: score.High, N: score.N,
		Perplexity: e.Report.Perplexity,
	}
}

// compare asks two epochs the same question, side by side.
func (d *script) compare(r *Result) error {
	d.show(Scene{"compare", "Two epochs side by side on one prompt"})
	var epochs []string
	for _, saved := range d.s.View().Run.Saved {
		if saved.Path != d.files.OutputDir {
			epochs = append(epochs, saved.Path)
		}
	}
	if len(epochs) < 2 {
		return fmt.Errorf("%d epochs were saved: two are needed to compare", len(epochs))
	}
	return d.ask(epochs[len(epochs)-2:]...)
}

// export writes the adapter in PEFT's layout and looks that it is there.
func (d *script) export(r *Result) error {
	d.show(Scene{"compare", "The adapter, in PEFT's layout for vLLM and transformers"})
	before := len(d.s.View().Log)
	if err := d.s.Do(session.Export{Version: session.VersionLive, Format: "peft", Out: d.files.Export}); err != nil {
		return err
	}
	v, err := d.wait(func(v session.View) bool {
		return len(v.Exports) > 0 || len(v.Log) > before && v.Log[len(v.Log)-1].Level == "error"
	})
	if err != nil {
		return err
	}
	if len(v.Exports) == 0 {
		return errors.New(v.Log[len(v.Log)-1].Text)
	}
	r.Adapter = v.Exports[len(v.Exports)-1].Path
	_, err = os.Stat(r.Adapter)
	return err
}
