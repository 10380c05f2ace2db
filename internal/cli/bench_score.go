package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"lathe/compute/profile"
	"lathe/internal/performance"
	"lathe/model"
)

// scoreBench chooses the work.
type scoreBench struct {
	size, model string
	rows        int
	shapes      bool
}

// scoredTogether is the most tokens of one pass.
const scoredTogether = 2048

func benchScoreCommand(e *env) *cobra.Command {
	var f scoreBench
	cmd := benchLeaf(e, "score", "Log-probabilities of rows of GSM8K's lengths, many together and one by one", func(ctx context.Context, _ []string) (report, error) {
		return e.benchScore(ctx, f)
	})
	flags := cmd.Flags()
	sizeFlag(cmd, &f.size, "60m")
	flags.StringVar(&f.model, "model", "", "score with this model instead of a random one")
	flags.IntVar(&f.rows, "rows", 32, "rows to score")
	flags.BoolVar(&f.shapes, "shapes", false, "break the time down by the shapes of operations too")
	return cmd
}

func (e *env) benchScore(ctx context.Context, f scoreBench) (report, error) {
	if f.rows < 1 {
		return report{}, usage("--rows is at least 1")
	}
	b, err := e.newBencher()
	if err != nil {
		return report{}, err
	}
	defer b.close()
	account := profile.New(b.dev)
	m, err := b.benchModel(account, f.size, f.model, false)
	if err != nil {
		return report{}, err
	}
	defer m.Free()
	rows := performance.RaggedRows(f.rows, m.Config().Vocab)
	r := performance.Score{Parameters: m.Config().Parameters(), Rows: f.rows}
	var alone, together []float64
	for i := range 3 { // the first time touches the memory
		speed, err := scoreRows(ctx, m, rows, 0)
		if err != nil {
			return report{}, err
		}
		account.Reset()
		batched, err := scoreRows(ctx, m, rows, scoredTogether)
		if err != nil {
			return report{}, err
		}
		r.Operations = breakDown(account, f.shapes)
		if i > 0 {
			alone, together = append(alone, speed), append(together, batched)
		}
	}
	r.OneByOne, r.TokensPerSecond = performance.Median(alone), performance.Median(together)
	r.Ratio = r.TokensPerSecond / r.OneByOne
	if r.Head, err = b.head(performance.WhatScore); err != nil {
		return report{}, err
	}
	r.GFLOPs = total(r.Operations, flops) / total(r.Operations, seconds) / 1e9
	r.MFLOPPerToken, r.Share = 1e3*r.GFLOPs/r.TokensPerSecond, r.GFLOPs/r.Peak.SGEMM
	return report{json: r, rows: scoreRowsTable(r), operations: r.Operations, peak: r.Peak}, nil
}

// scoreRows scores rows in passes of at most so many tokens, one row at least, and returns tokens a second.
func scoreRows(ctx context.Context, m *model.Model, rows []performance.Row, most int) (float64, error) {
	start, tokens := time.Now(), 0
	for len(rows) > 0 {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		in := model.Input{Seqs: []int32{0}}
		for len(rows) > 0 && (len(in.Tokens) == 0 || len(in.Tokens)+len(rows[0].InputIDs) <= most) {
			ids := rows[0].InputIDs
			in.Tokens = append(in.Tokens, ids...)
			in.Labels = append(append(in.Labels, ids[1:]...), model.Ignore)
			in.Seqs = append(in.Seqs, int32(len(in.Tokens)))
			rows = rows[1:]
		}
		if _, err := m.LogProbs(in); err != nil {
			return 0, err
		}
		tokens += len(in.Tokens)
	}
	return float64(tokens) / time.Since(start).Seconds(), nil
}

func scoreRowsTable(r performance.Score) [][]string {
	return append([][]string{
		headRow(r.Head),
		{"work", fmt.Sprintf("%s parameters, %d rows of GSM8K's lengths", count(r.Parameters), r.Rows)},
		{"speed", fmt.Sprintf("%s tokens/s, %.1f GFLOP/s: %.0f%% of sgemm", count(int64(r.TokensPerSecond)), r.GFLOPs, 100*r.Share)},
		{"one by one", fmt.Sprintf("%s tokens/s: together %.2f times that", count(int64(r.OneByOne)), r.Ratio)},
	}, peakRows(r.Peak)...)
}
