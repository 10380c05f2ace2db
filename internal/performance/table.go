package performance

import (
	"fmt"
	"strings"
)

// OperationRows is a break-down as a table with a heading; operations below a thousandth of the time are one row.
func OperationRows(operations []Operation, peak Peak) [][]string {
	rows := [][]string{{"operation", "calls", "seconds", "share", "GFLOP/s", "of sgemm", "GB/s", "of read"}}
	rest := Operation{Name: "the rest"}
	add := func(o Operation) {
		row := []string{strings.TrimSpace(o.Name + " " + o.Shape), grouped(o.Calls), fmt.Sprintf("%.3f", o.Seconds), percent(o.Share), "", "", "", ""}
		if o.GFLOPs > 0 {
			row[4], row[5] = fmt.Sprintf("%.1f", o.GFLOPs), fmt.Sprintf("%.0f%%", 100*o.GFLOPs/peak.SGEMM)
		}
		if o.GBs > 0 {
			row[6], row[7] = fmt.Sprintf("%.1f", o.GBs), fmt.Sprintf("%.0f%%", 100*o.GBs/peak.ReadBandwidth)
		}
		rows = append(rows, row)
	}
	for _, o := range operations {
		if o.Share >= 0.001 || o.Name == Between {
			add(o)
			continue
		}
		rest.Calls += o.Calls
		rest.Seconds += o.Seconds
		rest.Share += o.Share
	}
	if rest.Calls > 0 {
		add(rest)
	}
	return rows
}

func percent(x float64) string { return fmt.Sprintf("%.1f%%", 100*x) }

// grouped is a whole number with thousands apart.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
