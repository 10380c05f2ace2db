package cli

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lathe/compute/cpu"
)

func benchCommand(e *env) *cobra.Command {
	cmd := group(&cobra.Command{Use: "bench", Short: "Speed on this machine, as a share of its measured peak"})
	var f benchFlags
	train := &cobra.Command{
		Use:   "train",
		Short: "Training steps of a random llama through the real trainer",
		Args:  maxArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := e.benchTrain(cmd.Context(), f)
			if err != nil {
				return err
			}
			if e.json {
				return writeJSON(e.stdout, r)
			}
			table(e.stdout, r.rows())
			fmt.Fprintln(e.stdout)
			table(e.stdout, operationRows(r.Operations, r.Peak))
			return nil
		},
	}
	train.Flags().StringVar(&f.preset, "size", "60m", "10m or 60m: the random llama's size")
	train.Flags().StringVar(&f.method, "method", "lora", "full, lora or qlora")
	train.Flags().IntVar(&f.batch, "batch", 4, "rows of a step")
	train.Flags().IntVar(&f.length, "length", 512, "tokens of a row")
	train.Flags().IntVar(&f.steps, "steps", 4, "steps that are timed, after one that is not")
	train.Flags().IntVar(&f.r, "r", 16, "LoRA's rank, on all linear layers")
	train.Flags().BoolVar(&f.shapes, "shapes", false, "break the time down by the shapes of operations too")
	cmd.AddCommand(train, benchWorkbenchCommand(e))
	return cmd
}

// benchOperation is a row of the break-down: what one operation took of the time that was measured.
type benchOperation struct {
	cpu.OperationProfile
	GFLOPs float64 `json:"gflops"`
	GBs    float64 `json:"gb_s"`
	Share  float64 `json:"share"` // of the time
}

// hostTime names what no operation took: Go's own work between them.
const hostTime = "between operations"

// breakDown is where the time since the profile's Reset went.
func breakDown(p *cpu.Profile, shapes bool) []benchOperation {
	rows, seconds := p.Report(shapes)
	rest := seconds
	out := make([]benchOperation, 0, len(rows)+1)
	for _, row := range rows {
		rest -= row.Seconds
		out = append(out, benchOperation{
			OperationProfile: row, GFLOPs: row.FLOPs / row.Seconds / 1e9, GBs: row.Bytes / row.Seconds / 1e9, Share: row.Seconds / seconds,
		})
	}
	return append(out, benchOperation{OperationProfile: cpu.OperationProfile{Name: hostTime, Seconds: rest}, Share: rest / seconds})
}

// operationRows is the break-down as a table; operations below a thousandth of the time are one row.
func operationRows(operations []benchOperation, peak cpu.Peak) [][]string {
	rows := [][]string{{"operation", "calls", "seconds", "share", "GFLOP/s", "of sgemm", "GB/s", "of read"}}
	small := benchOperation{OperationProfile: cpu.OperationProfile{Name: "the rest"}}
	add := func(o benchOperation) {
		row := []string{strings.TrimSpace(o.Name + " " + o.Shape), count(o.Calls), fmt.Sprintf("%.3f", o.Seconds), fmt.Sprintf("%.1f%%", 100*o.Share)}
		if o.GFLOPs > 0 {
			row = append(row, fmt.Sprintf("%.1f", o.GFLOPs), fmt.Sprintf("%.0f%%", 100*o.GFLOPs/peak.SGEMM))
		} else {
			row = append(row, "", "")
		}
		if o.GBs > 0 {
			row = append(row, fmt.Sprintf("%.1f", o.GBs), fmt.Sprintf("%.0f%%", 100*o.GBs/peak.ReadBandwidth))
		}
		rows = append(rows, row)
	}
	for _, o := range operations {
		if o.Share >= 0.001 || o.Name == hostTime {
			add(o)
			continue
		}
		small.Calls += o.Calls
		small.Seconds += o.Seconds
		small.Share += o.Share
	}
	if small.Calls > 0 {
		add(small)
	}
	return rows
}

// peakMemory is the process's high water in bytes.
func peakMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kib, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))), 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return 0
}
