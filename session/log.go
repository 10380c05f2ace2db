package session

import (
	"fmt"
	"path/filepath"
	"strings"

	"lathe/compute"
	"lathe/datasets"
	"lathe/trainer"
)

// logLine is what the log says of an event; most say nothing.
func logLine(e Event) (LogLine, bool) {
	level, text := datasets.LevelInfo, ""
	switch b := e.Body.(type) {
	case Noted:
		level, text = b.Level, b.Text
	case DataOpened:
		text = "opened " + b.Path
	case Linted:
		level, text = lintLine(b)
	case RunCreated:
		text = fmt.Sprintf("run %s: %s of %s", b.Name, b.Config.Method, filepath.Base(b.Config.ModelNameOrPath))
		if len(b.SkipRows) > 0 {
			text += fmt.Sprintf(", without %s", strings.Join(b.SkipRows, ", "))
		}
		if b.RateScale != 0 {
			text += fmt.Sprintf(", at %g of the learning rate", b.RateScale)
		}
	case StateChanged:
		if b.State == Failed {
			level, text = datasets.LevelError, b.Reason
		}
	case Training:
		level, text = trainingLine(b.Event)
	case Evaluated:
		text = fmt.Sprintf("evaluated %s", VersionName(b.Version))
	case Exported:
		text = fmt.Sprintf("exported %s to %s", b.Format, b.Path)
	}
	return LogLine{Time: e.Time, Level: level, Text: text}, text != ""
}

func lintLine(b Linted) (datasets.Level, string) {
	switch {
	case b.Err != "":
		return datasets.LevelError, "check failed: " + b.Err
	case b.Summary.Errors > 0:
		return datasets.LevelError, fmt.Sprintf("checked %d rows: %d errors, %d warnings", b.Summary.Rows, b.Summary.Errors, b.Summary.Warnings)
	case b.Summary.Warnings > 0:
		return datasets.LevelWarn, fmt.Sprintf("checked %d rows: no errors, %d warnings", b.Summary.Rows, b.Summary.Warnings)
	}
	return datasets.LevelInfo, fmt.Sprintf("checked %d rows: nothing found", b.Summary.Rows)
}

func trainingLine(event trainer.Event) (datasets.Level, string) {
	switch t := event.(type) {
	case trainer.Started:
		if t.ResumedFrom != "" {
			return datasets.LevelInfo, fmt.Sprintf("resumed from %s at step %d", t.ResumedFrom, t.Step)
		}
	case trainer.StepSkipped:
		return datasets.LevelWarn, fmt.Sprintf("step %d: %s", t.Step, t.Message)
	case trainer.Spike:
		return datasets.LevelWarn, fmt.Sprintf("step %d: loss %.4f is a spike over %.4f (z %.1f); rows %s",
			t.Step, t.Loss, t.Median, t.Z, strings.Join(t.Rows, ", "))
	case trainer.Notice:
		return datasets.LevelWarn, t.Message
	case trainer.EvalDone:
		return datasets.LevelInfo, fmt.Sprintf("step %d: eval loss %.4f, perplexity %.3f", t.Step, t.EvalLoss, t.Perplexity)
	case trainer.Saved:
		return datasets.LevelInfo, fmt.Sprintf("step %d: saved %s", t.Step, filepath.Base(t.Path))
	case trainer.Paused:
		if t.Error != "" {
			return datasets.LevelError, fmt.Sprintf("step %d: paused: %s", t.Step, t.Error)
		}
		if t.Released > 0 {
			return datasets.LevelInfo, fmt.Sprintf("step %d: paused, %s of memory given back", t.Step, compute.Gib(t.Released))
		}
		return datasets.LevelInfo, fmt.Sprintf("step %d: paused", t.Step)
	case trainer.Resumed:
		return datasets.LevelInfo, fmt.Sprintf("step %d: resumed", t.Step)
	case trainer.Done:
		return datasets.LevelInfo, fmt.Sprintf("done at step %d in %.1f s", t.Step, t.Seconds)
	}
	return datasets.LevelInfo, ""
}

// VersionName is a version as a screen shows it: base, live, or the checkpoint's folder name.
func VersionName(version string) string { return filepath.Base(version) }
