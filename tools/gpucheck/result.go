package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"
)

// The states of a part.
const (
	passed  = "passed"
	failed  = "failed"
	skipped = "skipped"
	late    = "out of time" // what it had found until then is in its result
)

// fact is a named sentence or number of a report.
type fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// table is a list of measurements; cells are strings or float64.
type table struct {
	Title   string   `json:"title"`
	Columns []string `json:"columns"`
	Rows    [][]any  `json:"rows"`
	Note    string   `json:"note,omitempty"`
}

// result is what a part found.
type result struct {
	Name     string   `json:"name"`
	What     string   `json:"what"`
	Status   string   `json:"status"`
	Reason   string   `json:"reason,omitempty"` // why it was skipped, or how it ended
	Seconds  float64  `json:"seconds"`
	Facts    []fact   `json:"facts,omitempty"`
	Tables   []*table `json:"tables,omitempty"`
	Failures []string `json:"failures,omitempty"`
	// GPU is what the first part learns for the later ones and for the title.
	GPU *gpu `json:"gpu,omitempty"`
}

// gpu describes the device that was checked.
type gpu struct {
	Name       string `json:"name"`
	Capability int    `json:"capability,omitempty"` // 90 for 9.0
	SMs        int    `json:"multiprocessors,omitempty"`
	Memory     int64  `json:"memory,omitempty"`
	L2         int64  `json:"l2,omitempty"`
	ClockMHz   int    `json:"clock_mhz,omitempty"`
	Driver     string `json:"driver,omitempty"`
	CUDA       string `json:"cuda,omitempty"`
	// Rehearsal is EMULATED or CPU where it is no GPU; no times are told then.
	Rehearsal string `json:"rehearsal,omitempty"`
}

// check is a part that runs.
type check struct {
	options
	result
	path  string    // of the result, written after every change
	until time.Time // when the part will be stopped
}

func (c *check) save() {
	data, err := json.Marshal(c.result)
	if err == nil {
		err = replaceFile(c.path, data)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gpucheck: write result:", err)
	}
}

func (c *check) fact(name, format string, args ...any) {
	c.Facts = append(c.Facts, fact{name, fmt.Sprintf(format, args...)})
	c.save()
}

// fail notes a failure; the part goes on.
func (c *check) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, f := range c.Failures {
		if f == text {
			return
		}
	}
	c.Failures = append(c.Failures, text)
	c.save()
}

// skip ends a part that cannot be done here.
func (c *check) skip(format string, args ...any) {
	c.Status, c.Reason = skipped, fmt.Sprintf(format, args...)
	c.save()
}

func (c *check) table(title string, columns ...string) *table {
	t := &table{Title: title, Columns: columns}
	c.Tables = append(c.Tables, t)
	return t
}

// row adds a row and saves.
func (c *check) row(t *table, cells ...any) {
	for i, x := range cells {
		switch v := x.(type) {
		case int:
			cells[i] = float64(v)
		case int64:
			cells[i] = float64(v)
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) { // which JSON does not have
				cells[i] = fmt.Sprint(v)
			}
		}
	}
	t.Rows = append(t.Rows, cells)
	c.save()
}

// left tells whether there is time for something that takes so long.
func (c *check) left(d time.Duration) bool { return time.Now().Add(d).Before(c.until) }

// replaceFile writes a file whole or not at all.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".part-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
