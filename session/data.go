package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lathe/compute"
	"lathe/datasets"
	"lathe/model"
	"lathe/model/template"
	"lathe/trainer"
)

// errNoData says that there is no row to show.
var errNoData = errors.New("no dataset is open: open one with :open FILE")

// loadConfig puts a run.yaml on the table.
func (s *Session) loadConfig(c LoadConfig) error {
	s.publish(0, ConfigLoaded{Path: c.Path, Config: c.Config})
	if encoder, err := openEncoder(c.Config); err != nil {
		s.publish(0, Noted{Level: datasets.LevelWarn, Text: fmt.Sprintf("no token view: %v", err)})
	} else {
		s.setEncoder(encoder)
	}
	go func() {
		plan, err := trainer.MakePlan(s.ctx, c.Config, trainer.Environment{Device: s.deviceInfo()}, trainer.Options{})
		if err != nil {
			s.post(0, Forecast{Err: err.Error()})
			return
		}
		s.post(0, Forecast{Plan: &plan})
	}()
	if len(c.Config.TrainFile) == 0 {
		return nil
	}
	o := datasets.Options{Format: datasets.Format(c.Config.Format), Columns: c.Config.Columns.Columns()}
	return s.openData(c.Config.TrainFile[0], o)
}

// deviceInfo asks the engine what the device is; the zero Info where it has none. While it trains nobody may ask what is
// free, and MemoryFree is 0.
func (s *Session) deviceInfo() compute.Info {
	if s.engine.running() != nil {
		return s.engine.lastInfo()
	}
	answer := make(chan compute.Info, 1)
	if !s.engine.submit(func() {
		dev, err := s.engine.device()
		if err != nil {
			answer <- compute.Info{}
			return
		}
		answer <- dev.Info()
	}) {
		return compute.Info{}
	}
	return <-answer
}

// openEncoder reads the tokenizer and the template of a run's model.
func openEncoder(c trainer.Config) (*datasets.Encoder, error) {
	files, err := model.Open(c.ModelNameOrPath)
	if err != nil {
		return nil, err
	}
	defer files.Close()
	tok, err := files.Tokenizer()
	if err != nil {
		return nil, err
	}
	e := &datasets.Encoder{Tokenizer: tok, MaxSeqLength: c.MaxSeqLength, TrainOnInputs: c.TrainOnInputs, Columns: c.Columns.Columns()}
	switch tmpl, err := files.Template(); {
	case err == nil:
		e.Renderer = tmpl
	case !errors.Is(err, template.ErrNone):
		return nil, err
	}
	return e, nil
}

// openData puts a dataset on screen and follows its index.
func (s *Session) openData(path string, o datasets.Options) error {
	file, err := datasets.Open(path, o)
	if err != nil {
		return err
	}
	s.mu.Lock()
	old := s.data
	s.data = file
	s.mu.Unlock()
	if old != nil {
		old.Close()
	}
	s.publish(0, DataOpened{Path: path})
	go s.followIndex(file)
	return nil
}

// followIndex tells how much of a file is known, until all is.
func (s *Session) followIndex(file *datasets.File) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		rows, part, done := file.Indexed()
		told := DataIndexed{Rows: rows, Part: part, Done: done}
		if done {
			if err := file.Wait(s.ctx); err != nil && s.ctx.Err() == nil {
				told.Err = err.Error()
			}
		}
		s.queue.post(func() {
			if s.currentData() == file {
				s.publish(0, told)
			}
		})
		if done {
			return
		}
		select {
		case <-ticker.C:
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Session) currentData() *datasets.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data
}

// Row reads a row of the open dataset.
func (s *Session) Row(i int) (datasets.Row, error) {
	file := s.currentData()
	if file == nil {
		return datasets.Row{}, errNoData
	}
	return file.Row(i)
}

// Tokens shows a row of the open dataset as the model will see it.
func (s *Session) Tokens(i int) (datasets.View, error) {
	row, err := s.Row(i)
	if err != nil {
		return datasets.View{}, err
	}
	s.mu.Lock()
	encoder := s.encoder
	s.mu.Unlock()
	if encoder == nil {
		return datasets.View{}, errors.New("no tokenizer: load a run.yaml with :config FILE")
	}
	return encoder.View(row)
}

// lint checks the open dataset in the background.
func (s *Session) lint() error {
	s.mu.Lock()
	file, encoder := s.data, s.encoder
	s.mu.Unlock()
	if file == nil {
		return errNoData
	}
	s.publish(0, LintStarted{Path: file.Path()})
	o := datasets.LintOptions{Progress: func(rows int, _ int64) { s.post(0, LintProgress{Rows: rows}) }}
	if encoder != nil {
		o.Tokenizer, o.Renderer = encoder.Tokenizer, encoder.Renderer
		o.MaxSeqLength, o.TrainOnInputs = encoder.MaxSeqLength, encoder.TrainOnInputs
	}
	go func() { s.post(0, lintFile(s.ctx, file, o)) }()
	return nil
}

func lintFile(ctx context.Context, file *datasets.File, o datasets.LintOptions) Linted {
	result := Linted{Path: file.Path()}
	summary, err := datasets.Lint(ctx, file, o, func(f datasets.Finding) {
		if len(result.Findings) < MaxFindings {
			result.Findings = append(result.Findings, f)
		}
	})
	result.Summary = summary
	if err != nil {
		result.Err = err.Error()
	}
	return result
}
