package cli

import (
	"context"
	"fmt"

	"lathe/internal/performance"
)

// sweepRounds is how often a sweep goes over its points. The fastest step of each counts, as for peaks: other work on a machine only ever
// makes a step slower, and comes and goes between points.
const sweepRounds = 3

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
	s := performance.Sweep{Over: f.sweep, Method: f.method, Rounds: sweepRounds, Points: make([]performance.SweepPoint, len(points))}
	for range sweepRounds {
		for i, p := range points {
			point, err := b.sweepPoint(ctx, p)
			if err != nil {
				return report{}, err
			}
			if best := &s.Points[i]; best.Steps == 0 || point.Micros < best.Micros {
				*best = point
			}
		}
	}
	if s.Head, err = b.head(performance.WhatSweep); err != nil {
		return report{}, err
	}
	return report{json: s, rows: sweepRows(s)}, nil
}

// sweepPoint is what a token costs at one size.
func (b *bencher) sweepPoint(ctx context.Context, p trainBench) (performance.SweepPoint, error) {
	r, err := b.train(ctx, p)
	if err != nil {
		return performance.SweepPoint{}, err
	}
	attention := total(r.Operations, seconds, "Attention", "AttentionBackward") / total(r.Operations, seconds)
	micros := 1e6 / r.TokensPerSecond
	return performance.SweepPoint{
		Tokens: p.length, Parameters: r.Parameters, Steps: p.steps, Micros: micros, Attention: micros * attention,
		MFLOP: r.MFLOPPerToken, GFLOPs: r.GFLOPs,
	}, nil
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
