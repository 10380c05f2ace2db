package nvml

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// patience is how long [Check] waits for a driver that may be sick.
const patience = 10 * time.Second

// Check opens NVML, reads it once and describes what it finds in one line; the error is one line as well. It does not wait for
// ever.
func Check() (string, error) {
	type answer struct {
		text string
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		l, err := Open()
		if err != nil {
			done <- answer{err: err}
			return
		}
		text := Describe(l.Driver(), l.Read())
		done <- answer{text, l.Close()}
	}()
	select {
	case a := <-done:
		return a.text, a.err
	case <-time.After(patience):
		return "", errors.New("open NVML: no answer in 10 s: a GPU has hung, dmesg names it (NVRM, Xid)")
	}
}

// Describe is what a host has, in one line: driver, GPUs that are alike together, what is in use of them, and notes.
func Describe(driver string, readings []Reading) string {
	parts := []string{"NVML of driver " + driver}
	for at := 0; at < len(readings); {
		end, used := at, int64(0)
		for end < len(readings) && kind(readings[end]) == kind(readings[at]) {
			used += max(readings[end].MemoryUsed, 0)
			end++
		}
		part := kind(readings[at])
		if n := end - at; n > 1 {
			part = fmt.Sprintf("%d × %s", n, part)
		}
		if readings[at].MemoryUsed != Unknown {
			part += fmt.Sprintf(", %s in use", gib(used))
		}
		parts = append(parts, part)
		at = end
	}
	return strings.Join(parts, "; ")
}

// kind is what GPUs that are described together have in common.
func kind(r Reading) string {
	text := r.Name
	if text == "" {
		text = fmt.Sprintf("GPU %d", r.Index)
	}
	if r.MemoryTotal != Unknown {
		text += " with " + gib(r.MemoryTotal)
	}
	switch n := len(r.Slices); {
	case n == 1:
		text += " in one MIG slice"
	case n > 1:
		text += fmt.Sprintf(" in %d MIG slices", n)
	}
	if r.Note != "" {
		text += " (" + r.Note + ")"
	}
	return text
}

func gib(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }
