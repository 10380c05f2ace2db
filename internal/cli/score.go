package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"lathe/model"
)

// scoreResult is a line of `lathe score`.
type scoreResult struct {
	// LogProbs [n-1] are ln p of each next token, Loss their negative mean.
	LogProbs []float64 `json:"logprobs"`
	Loss     float64   `json:"loss"`
}

func scoreCommand(e *env) *cobra.Command {
	var f modelFlags
	var idsFile, textFile string
	cmd := &cobra.Command{
		Use:   "score --model DIR (--ids FILE | --text FILE)",
		Short: "Log-probability of every next token of each line",
		Args:  maxArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (idsFile == "") == (textFile == "") {
				return usage("score needs one of --ids FILE and --text FILE")
			}
			l, err := f.load(e)
			if err != nil {
				return err
			}
			defer l.close()
			if idsFile != "" {
				return eachLine(e, idsFile, e.scoreRow(l.model))
			}
			tok, err := l.files.Tokenizer()
			if err != nil {
				return configError(fmt.Errorf("%s: %w", f.model, err))
			}
			return eachLine(e, textFile, func(_ int, row textRow) error {
				if row.Text == nil {
					return errors.New(`no "text" in this line`)
				}
				return e.score(l.model, tok.Encode(*row.Text, true))
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&idsFile, "ids", "", `JSON lines {"ids":[…]}; - is standard input`)
	cmd.Flags().StringVar(&textFile, "text", "", `JSON lines {"text":…}; - is standard input`)
	return cmd
}

// idsRow is a line of `lathe score --ids`.
type idsRow struct {
	IDs *[]int32 `json:"ids"`
}

func (e *env) scoreRow(m *model.Model) func(int, idsRow) error {
	return func(_ int, row idsRow) error {
		if row.IDs == nil {
			return errors.New(`no "ids" in this line`)
		}
		return e.score(m, *row.IDs)
	}
}

// textRow is a line of `lathe score --text` and `lathe tokenize`.
type textRow struct {
	Text *string `json:"text"`
}

// score prints one sequence's log-probabilities.
func (e *env) score(m *model.Model, ids []int32) error {
	result, err := scoreIDs(m, ids)
	if err != nil {
		return err
	}
	return writeJSON(e.stdout, result)
}

func scoreIDs(m *model.Model, ids []int32) (scoreResult, error) {
	if len(ids) < 2 {
		return scoreResult{}, fmt.Errorf("%d tokens: a score needs at least two", len(ids))
	}
	labels := append(append([]int32{}, ids[1:]...), -100)
	logprobs, err := m.LogProbs(model.Input{Tokens: ids, Labels: labels})
	if err != nil {
		return scoreResult{}, err
	}
	r := scoreResult{LogProbs: make([]float64, len(ids)-1)}
	for i := range r.LogProbs {
		r.LogProbs[i] = float64(logprobs[i])
		r.Loss -= r.LogProbs[i]
	}
	r.Loss /= float64(len(r.LogProbs))
	return r, nil
}
