package cli

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lathe/datasets"
)

func dataCommand(e *env) *cobra.Command {
	cmd := group(&cobra.Command{Use: "data", Short: "Check datasets and write changed copies; inputs are never touched"})
	cmd.AddCommand(lintCommand(e), dedupeCommand(e), redactCommand(e), splitCommand(e), statsCommand(e))
	return cmd
}

// withData opens the one dataset that a command names.
func withData(path string, use func(*datasets.File) error) error {
	file, err := datasets.Open(path, datasets.Options{})
	if err != nil {
		return configError(err)
	}
	defer file.Close()
	err = use(file)
	if errors.Is(err, datasets.ErrRatios) || errors.Is(err, datasets.ErrSameFile) {
		return usageError{err}
	}
	return err
}

// print shows a result as JSON or as text.
func (e *env) print(v any, format string, args ...any) error {
	if e.json {
		return writeJSON(e.stdout, v)
	}
	_, err := fmt.Fprintf(e.stdout, format+"\n", args...)
	return err
}

func dedupeCommand(e *env) *cobra.Command {
	var out string
	var o datasets.DedupeOptions
	cmd := &cobra.Command{
		Use:   "dedupe FILE --out F2",
		Short: "Leave out rows that repeat an earlier one, exactly or nearly",
		Args:  exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usage("where to? name a new file with --out")
			}
			return withData(args[0], func(f *datasets.File) error {
				r, err := datasets.Dedupe(cmd.Context(), f, out, o)
				if err != nil {
					return err
				}
				for _, u := range r.Unreadable {
					fmt.Fprintf(e.stderr, "%s:%d: kept as it is: %s\n", args[0], u.Line, u.Reason)
				}
				return e.print(r, "%s: %s rows kept, %d exact and %d near repetitions left out", out, count(int64(r.Kept)), r.RemovedExact, r.RemovedNear)
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write")
	cmd.Flags().BoolVar(&o.ExactOnly, "exact-only", false, "keep near duplicates")
	return cmd
}

func redactCommand(e *env) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "redact FILE --out F2",
		Short: "Replace what is personal by placeholders; every other byte stays",
		Args:  exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usage("where to? name a new file with --out")
			}
			return withData(args[0], func(f *datasets.File) error {
				r, err := datasets.Redact(cmd.Context(), f, out)
				if err != nil {
					return err
				}
				return e.print(r, "%s: %s of %s rows changed", out, count(int64(r.Changed)), count(int64(r.Rows)))
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write")
	return cmd
}

func splitCommand(e *env) *cobra.Command {
	var out, ratio, by string
	var seed int64
	cmd := &cobra.Command{
		Use:   "split FILE --out DIR --ratio 0.8,0.1,0.1",
		Short: "train.jsonl, validation.jsonl and test.jsonl: disjoint, exact sizes, stratified with --by",
		Args:  exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usage("where to? name a folder with --out")
			}
			var ratios []float64
			for _, s := range strings.Split(ratio, ",") {
				x, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
				if err != nil {
					return usage("--ratio %s: %q is no number", ratio, s)
				}
				ratios = append(ratios, x)
			}
			return withData(args[0], func(f *datasets.File) error {
				splits, files, err := datasets.SplitFile(cmd.Context(), f, out, ratios, seed, by)
				if err != nil {
					return err
				}
				return e.printSplits(splits, files)
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "folder to write to")
	cmd.Flags().StringVar(&ratio, "ratio", "0.8,0.1,0.1", "shares of train, validation and test")
	cmd.Flags().Int64Var(&seed, "seed", 42, "the same seed, the same rows")
	cmd.Flags().StringVar(&by, "by", "", "field whose classes every part has in the same shares")
	return cmd
}

func statsCommand(e *env) *cobra.Command {
	var o datasets.StatsOptions
	var dir string
	cmd := &cobra.Command{
		Use:   "stats FILE",
		Short: "Rows, formats, lengths, classes",
		Args:  exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir != "" {
				enc, err := openEncoder(dir, 0)
				if err != nil {
					return err
				}
				o.Encoder = enc
			}
			return withData(args[0], func(f *datasets.File) error {
				s, err := datasets.Measure(cmd.Context(), f, o)
				if err != nil {
					return err
				}
				if e.json {
					return writeJSON(e.stdout, s)
				}
				table(e.stdout, statsTable(s))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&dir, "model", "", "count tokens with this model's tokenizer")
	cmd.Flags().StringVar(&o.By, "by", "", "count the classes of this field")
	return cmd
}

func statsTable(s datasets.Stats) [][]string {
	spread := func(name string, d datasets.Distribution) []string {
		return []string{name, fmt.Sprintf("mean %.1f, median %d, 90%% %d, 99%% %d, longest %d", d.Mean, d.P50, d.P90, d.P99, d.Max)}
	}
	rows := [][]string{
		{"rows", fmt.Sprintf("%s (%d unreadable), %s", count(int64(s.Rows)), s.Invalid, bytesText(s.Bytes))},
		{"formats", counts(s.Formats)},
		spread("asked, characters", s.PromptChars),
		spread("answered, characters", s.AnswerChars),
	}
	if s.RowTokens.Count > 0 {
		rows = append(rows, spread("row, tokens", s.RowTokens),
			[]string{"tokens", fmt.Sprintf("%s, %s of them trained", count(s.Tokens), count(s.Trained))})
	}
	if len(s.Classes) > 0 {
		rows = append(rows, []string{"classes", counts(s.Classes)})
	}
	return rows
}

// counts lists how often each name occurs, the most frequent first.
func counts[K ~string](n map[K]int) string {
	names := slices.SortedFunc(maps.Keys(n), func(a, b K) int { return cmp.Or(cmp.Compare(n[b], n[a]), cmp.Compare(a, b)) })
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%s %s", name, count(int64(n[name])))
	}
	return strings.Join(parts, ", ")
}

// printSplits says what went where.
func (e *env) printSplits(s datasets.Splits, files []string) error {
	type part struct {
		File string `json:"file"`
		Rows int    `json:"rows"`
	}
	parts := make([]part, len(files))
	for i, file := range files {
		parts[i] = part{file, len(s.Parts[i])}
	}
	if e.json {
		return writeJSON(e.stdout, struct {
			Files []part `json:"files"`
			Rest  int    `json:"rest"`
		}{parts, len(s.Rest)})
	}
	for _, p := range parts {
		fmt.Fprintf(e.stdout, "%s: %s rows\n", p.File, count(int64(p.Rows)))
	}
	return nil
}
