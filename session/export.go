package session

import (
	"context"
	"fmt"
	"os"
	"slices"

	"lathe/datasets"
	"lathe/export"
	"lathe/model"
	"lathe/trainer"
)

// exporters are the formats that an Export may have. A merged model is read back beside the run's own, so that it takes as
// much memory again for a while.
var exporters = map[string]func(context.Context, *model.Model, export.Options) (*export.Report, error){
	export.FormatPEFT: export.PEFT, export.FormatMerged: export.Merged,
}

// export writes a version of the adapter, or a model with it merged in, for others to read.
func (s *Session) export(v View, c Export) error {
	write, ok := exporters[c.Format]
	if !ok {
		return fmt.Errorf("unknown format %q: peft and merged are those that can be written", c.Format)
	}
	if c.Version == VersionBase {
		return fmt.Errorf("the base has no adapter: name a checkpoint or %q", VersionLive)
	}
	run := v.Run
	if err := export.CheckPlace(c.Out, run.Config.ModelNameOrPath); err != nil {
		return err
	}
	go func() {
		var report *export.Report
		err := s.engine.ask(s.ctx, func(live *trainer.Live) error {
			if live.Adapter == nil {
				return fmt.Errorf("the run has no adapter: method full writes whole models")
			}
			files, err := model.Open(run.Config.ModelNameOrPath)
			if err != nil {
				return err
			}
			defer files.Close()
			return withVersion(live, c.Version, func(m *model.Model) error {
				o := export.Options{Out: c.Out, Base: files, AdapterDir: savedAt(run, c.Version, live.Step)}
				report, err = write(s.ctx, m, o)
				return err
			})
		})
		if err != nil {
			s.post(run.ID, Noted{Level: datasets.LevelError, Text: fmt.Sprintf("export: %v", err)})
			return
		}
		for _, w := range report.Warnings {
			s.post(run.ID, Noted{Level: datasets.LevelWarn, Text: w})
		}
		s.post(run.ID, Noted{Level: datasets.LevelInfo, Text: fmt.Sprintf("read back and compared: logits differ by %.2g at most (allowed %.2g)", report.MaxLogitDifference, report.Tolerance)})
		s.post(run.ID, Exported{Format: c.Format, Path: c.Out})
	}()
	return nil
}

// savedAt is the folder in which a version lies, from which the model card tells of the run; "" for a live one that was not
// saved at this step.
func savedAt(run RunView, version string, step int) string {
	if version != VersionLive {
		return version
	}
	i := slices.IndexFunc(run.Saved, func(saved trainer.Saved) bool { return saved.Step == step })
	if i < 0 {
		return ""
	}
	if _, err := os.Stat(run.Saved[i].Path); err != nil { // rotated away
		return ""
	}
	return run.Saved[i].Path
}
