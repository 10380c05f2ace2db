package cli

import (
	"context"
	"fmt"

	"lathe/internal/performance"
)

// benchSweep is the cost of a token over the length of a row, or over the size of the model.
func (e *env) benchSweep(ctx context.Context, f trainBench) (report, error) {
	if err := f.check(); err != nil {
		return report{}, err
	}
	var points []trainBench
	switch f.sweep {
	case "tokens":
		for length := 64; length <= 4096; length *= 2 {
			p := f
			p.batch, p.length, p.steps = 1, length, max(1, min(f.steps*512/length, 16))
			points = append(points, p)
		}
	case "parameters":
		for i, size := range benchSizes() {
			p := f
			p.size, p.batch, p.length, p.steps = size, 1, 512, max(1, 6-i)
			points = append(points, p)
		}
	default:
		return report{}, usage("--sweep %s: use tokens or parameters", f.sweep)
	}
	b, err := e.newBencher()
	if err != nil {
		return report{}, err
	}
	defer b.close()
	s := performance.Sweep{Over: f.sweep, Method: f.method}
	for _, p := range points {
		r, err := b.train(ctx, p)
		if err != nil {
			return report{}, err
		}
		attention := total(r.Operations, seconds, "Attention", "AttentionBackward") / total(r.Operations, seconds)
		micros := 1e6 / r.TokensPerSecond
		s.Points = append(s.Points, performance.SweepPoint{
			Tokens: p.length, Parameters: r.Parameters, Steps: p.steps, Micros: micros, Attention: micros * attention,
			MFLOP: r.MFLOPPerToken, GFLOPs: r.GFLOPs,
		})
	}
	if s.Head, err = b.head(performance.WhatSweep); err != nil {
		return report{}, err
	}
	return report{json: s, rows: sweepRows(s)}, nil
}

func sweepRows(s performance.Sweep) [][]string {
	rows := [][]string{{"tokens of a row", "parameters", "steps", "µs a token", "of that attention", "without it", "MFLOP a token", "GFLOP/s", "of sgemm"}}
	for _, p := range s.Points {
		rows = append(rows, []string{
			count(int64(p.Tokens)), count(p.Parameters), fmt.Sprint(p.Steps), fmt.Sprintf("%.0f", p.Micros), fmt.Sprintf("%.0f", p.Attention),
			fmt.Sprintf("%.0f", p.Micros-p.Attention), fmt.Sprintf("%.1f", p.MFLOP), fmt.Sprintf("%.1f", p.GFLOPs), fmt.Sprintf("%.0f%%", 100*p.GFLOPs/s.Peak.SGEMM),
		})
	}
	return rows
}
