package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"lathe/datasets"
)

// lintFlags are the flags of `lathe data lint`.
type lintFlags struct {
	model        string
	maxSeqLength int
	by           string
	format       string
}

func lintCommand(e *env) *cobra.Command {
	var f lintFlags
	cmd := &cobra.Command{
		Use:   "lint FILE…",
		Short: "Findings with file, line and row; exit 1 when one is an error",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.maxSeqLength < 0 {
				return usage("--max-seq-length counts tokens: it cannot be negative")
			}
			errorsFound := 0
			for _, path := range args {
				n, err := e.lint(cmd, path, f)
				if err != nil {
					return err
				}
				errorsFound += n
			}
			if errorsFound > 0 {
				return errQuiet
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&f.model, "model", "", "check tokens, template and masks against this model")
	cmd.Flags().IntVar(&f.maxSeqLength, "max-seq-length", 0, "tokens; longer rows are found")
	cmd.Flags().StringVar(&f.by, "by", "", "count the classes of this field")
	cmd.Flags().StringVar(&f.format, "format", "", "alpaca, messages, …; detected when left out")
	return cmd
}

// lint checks one file, prints what it finds, and returns the number of errors.
func (e *env) lint(cmd *cobra.Command, path string, f lintFlags) (int, error) {
	format, err := datasets.ParseFormat(f.format)
	if err != nil {
		return 0, usageError{err}
	}
	file, err := datasets.Open(path, datasets.Options{Format: format})
	if err != nil {
		return 0, configError(err)
	}
	defer file.Close()
	bar := newProgress(e.stderr)
	o := datasets.LintOptions{
		MaxSeqLength: f.maxSeqLength, By: f.by,
		Progress: func(rows int, _ int64) { bar.set("checked", int64(rows), -1, "rows") },
	}
	if f.model != "" {
		enc, err := openEncoder(f.model, f.maxSeqLength)
		if err != nil {
			return 0, err
		}
		o.Tokenizer, o.Renderer = enc.Tokenizer, enc.Renderer
	}
	var writeErr error
	summary, err := datasets.Lint(cmd.Context(), file, o, func(found datasets.Finding) {
		bar.clear()
		if e.json {
			writeErr = writeJSON(e.stdout, found)
			return
		}
		_, writeErr = fmt.Fprintf(e.stdout, "%s:%d: %s: %s: %s\n", found.File, found.Line, found.Level, found.Code, found.Message)
	})
	bar.clear()
	if err != nil {
		return 0, err
	}
	if writeErr != nil {
		return 0, writeErr
	}
	if e.json {
		return summary.Errors, writeJSON(e.stdout, summary)
	}
	fmt.Fprintf(e.stdout, "%s: %s rows, %d errors, %d warnings, %d notes\n", path, count(int64(summary.Rows)), summary.Errors, summary.Warnings, summary.Infos)
	return summary.Errors, nil
}
