package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lathe/compute"
	"lathe/compute/cpu"
	"lathe/compute/profile"
	"lathe/cuda"
	"lathe/internal/performance"
)

// report is what a bench found: printed as tables, or as one JSON object.
type report struct {
	json       any
	rows       [][]string
	operations []performance.Operation
	peak       performance.Peak
}

func benchCommand(e *env) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "bench [WHAT]",
		Short: "Speed on this machine, as a share of its measured peak; without WHAT all of it, short",
	})
	cmd.PersistentFlags().DurationVar(&e.peak, "peak-time", time.Second, "how long the CPU's peak is measured, at the start and at the end")
	unknown := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknown(cmd, args)
		}
		return e.benchAll(cmd.Context())
	}
	cmd.AddCommand(
		benchTrainCommand(e), benchGenerateCommand(e), benchScoreCommand(e), benchTokenizeCommand(e), benchLintCommand(e),
		benchStartCommand(e), benchWorkbenchCommand(e),
	)
	return cmd
}

// benchLeaf is a command that measures one thing.
func benchLeaf(e *env, use, short string, measure func(ctx context.Context, args []string) (report, error)) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: maxArgs(0), RunE: func(cmd *cobra.Command, args []string) error {
		r, err := measure(cmd.Context(), args)
		if err != nil {
			return err
		}
		return e.printReport(r)
	}}
}

// benchAll measures everything on the small model.
func (e *env) benchAll(ctx context.Context) error {
	train := trainBench{size: "10m", batch: 4, length: 256, steps: 2, r: 16, trains: rowsFull, dtype: performance.Float32}
	parts := []func(context.Context) (report, error){}
	for _, method := range benchMethods {
		f := train
		f.method = method
		parts = append(parts, func(ctx context.Context) (report, error) { return e.benchTrain(ctx, f) })
	}
	ragged := train
	ragged.method, ragged.trains = "lora", rowsRagged
	parts = append(
		parts,
		func(ctx context.Context) (report, error) { return e.benchTrain(ctx, ragged) },
		func(ctx context.Context) (report, error) { return e.benchGenerate(ctx, defaultGenerateBench("10m")) },
		func(ctx context.Context) (report, error) { return e.benchScore(ctx, scoreBench{size: "10m", rows: 16}) },
		func(context.Context) (report, error) { return e.benchTokenize(textBench{megabytes: 2}) },
		func(ctx context.Context) (report, error) { return e.benchLint(ctx, textBench{megabytes: 4}) },
		func(ctx context.Context) (report, error) {
			return e.benchStart(ctx, startBench{size: "10m", method: "qlora"})
		},
	)
	for i, part := range parts {
		r, err := part(ctx)
		if err != nil {
			return err
		}
		if i > 0 && !e.json {
			fmt.Fprintln(e.stdout)
		}
		if err := e.printReport(r); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) printReport(r report) error {
	if e.json {
		return writeJSON(e.stdout, r.json)
	}
	table(e.stdout, r.rows)
	if len(r.operations) > 0 {
		fmt.Fprintln(e.stdout)
		table(e.stdout, performance.OperationRows(r.operations, r.peak))
	}
	return nil
}

// bencher is a device under measurement.
type bencher struct {
	e    *env
	dev  compute.Device
	peak performance.Peak
}

// newBencher opens the CPU, or the GPU that --device names, and measures its peak for the first time; the caller closes it.
func (e *env) newBencher() (*bencher, error) {
	device := e.device
	if device == "auto" {
		device = "cpu"
	}
	dev, err := openDevice(device)
	if err != nil {
		return nil, err
	}
	b := &bencher{e: e, dev: dev}
	if err := b.measurePeak(); err != nil {
		dev.Close()
		return nil, err
	}
	return b, nil
}

// newHostBencher is newBencher for work that no GPU does.
func (e *env) newHostBencher() (*bencher, error) {
	if e.device != "auto" && e.device != "cpu" {
		return nil, usage("--device %s: this measures the CPU; leave it out", e.device)
	}
	return e.newBencher()
}

func (b *bencher) measurePeak() error {
	switch dev := b.dev.(type) {
	case *cpu.Device:
		peak, err := dev.MeasurePeak(b.e.peak)
		b.peak = b.peak.Better(performance.Peak(peak))
		return err
	case *cuda.Device:
		peak, err := dev.MeasurePeak() // its memory reads as fast as it copies
		b.peak = b.peak.Better(performance.Peak{SGEMM: peak.SGEMM, BF16: peak.BF16, CopyBandwidth: peak.Copy, ReadBandwidth: peak.Copy})
		return err
	}
	return nil
}

func (b *bencher) close() { b.dev.Close() }

// multiplies tells whether the device multiplies in a type.
func (b *bencher) multiplies(t compute.DType) bool { return slices.Contains(b.dev.Info().MatMul, t) }

// head measures the peak again, and opens a result.
func (b *bencher) head(what string) (performance.Head, error) {
	info, memory := b.dev.Info(), peakMemory()
	if info.Kind == "cuda" {
		memory = b.dev.Memory().Peak
	}
	if err := b.measurePeak(); err != nil {
		return performance.Head{}, err
	}
	return performance.Head{
		What: what, Date: time.Now().Format(time.DateOnly), Device: info.Name, Tier: info.Tier, Threads: info.Threads,
		Peak: b.peak, PeakMemory: memory,
	}, nil
}

func headRow(h performance.Head) []string {
	if h.Threads == 0 {
		return []string{"device", fmt.Sprintf("%s, %s", h.Device, h.Tier)}
	}
	return []string{"device", fmt.Sprintf("%s, %s, %d threads", h.Device, h.Tier, h.Threads)}
}

// peakRows are the machine's own limits.
func peakRows(p performance.Peak) [][]string {
	text := fmt.Sprintf("%.1f GFLOP/s float32", p.SGEMM)
	if p.BF16 > 0 {
		text += fmt.Sprintf(", %.1f bfloat16", p.BF16)
	}
	if p.FMA > 0 {
		text += fmt.Sprintf(", multiply-adds in registers %.1f GFLOP/s", p.FMA)
	}
	return [][]string{
		{"peak", fmt.Sprintf("products %s, measured here and now", text)},
		{"bandwidth", fmt.Sprintf("%.1f GB/s copied, %.1f GB/s read", p.CopyBandwidth, p.ReadBandwidth)},
	}
}

// breakDown is where the time since the profile's Reset went.
func breakDown(p *profile.Profile, shapes bool) []performance.Operation {
	rows, seconds := p.Report(shapes)
	rest := seconds
	out := make([]performance.Operation, 0, len(rows)+1)
	for _, row := range rows {
		rest -= row.Seconds
		out = append(out, performance.Operation{
			Name: row.Name, Shape: row.Shape, Calls: row.Calls, Seconds: row.Seconds, FLOPs: row.FLOPs, Bytes: row.Bytes,
			GFLOPs: giga(row.FLOPs, row.Seconds), GBs: giga(row.Bytes, row.Seconds), Share: row.Seconds / seconds,
		})
	}
	return append(out, performance.Operation{Name: performance.Between, Seconds: rest, Share: rest / seconds})
}

// giga is a rate in 10⁹ a second, 0 for what took no time that a clock could see.
func giga(n, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return n / seconds / 1e9
}

// Figures of an operation, for total.
func seconds(o performance.Operation) float64    { return o.Seconds }
func flops(o performance.Operation) float64      { return o.FLOPs }
func bytesMoved(o performance.Operation) float64 { return o.Bytes }

// total sums a figure of a break-down.
func total(operations []performance.Operation, figure func(performance.Operation) float64, names ...string) (sum float64) {
	for _, o := range operations {
		if len(names) == 0 || slices.Contains(names, o.Name) {
			sum += figure(o)
		}
	}
	return sum
}

// peakMemory is the process's high water in bytes.
func peakMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(string(bytes.TrimSpace(rest)), " kB"), 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

// benchFolder is where a bench puts its files: in keep, or in a temporary folder, which remove takes away.
func benchFolder(keep string) (dir string, remove func(), err error) {
	if keep != "" {
		return keep, func() {}, nil
	}
	dir, err = os.MkdirTemp("", "lathe-bench-")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

// median of three runs of something that gives a figure.
func median3(run func() (float64, error)) (float64, error) {
	var figures []float64
	for range 3 {
		x, err := run()
		if err != nil {
			return 0, err
		}
		figures = append(figures, x)
	}
	return performance.Median(figures), nil
}
