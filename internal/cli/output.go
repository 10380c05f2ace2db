package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
)

// writeJSON prints one JSON object on a line.
func writeJSON(w io.Writer, v any) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line) // one write a line, and <s> as it is
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write json: %w", err)
	}
	_, err := w.Write(line.Bytes())
	return err
}

// isTerminal tells whether a stream is a terminal that can redraw a line.
func isTerminal(stream any) bool {
	if c, ok := stream.(*checkedWriter); ok {
		stream = c.w
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(f.Fd()) && os.Getenv("TERM") != "dumb"
}

// progress shows long work: a line that is redrawn on a terminal, a plain line every few seconds elsewhere.
type progress struct {
	w     io.Writer
	live  bool
	start time.Time
	last  time.Time
	shown bool
	what  string
}

func newProgress(w io.Writer) *progress {
	now := time.Now()
	return &progress{w: w, live: isTerminal(w), start: now, last: now}
}

// set shows done of total (-1 when unknown) of something, with rate and time left.
func (p *progress) set(what string, done, total int64, unit string) {
	now := time.Now()
	if what != p.what {
		p.what, p.start = what, now
	}
	every := 100 * time.Millisecond
	if !p.live {
		every = 5 * time.Second
	}
	if now.Sub(p.last) < every {
		return
	}
	p.last = now
	p.show(progressLine(what, done, total, unit, now.Sub(p.start)))
}

// show prints a line in place of the last one, no longer than the terminal is wide: a wrapped line could not be taken back.
func (p *progress) show(line string) {
	if p.live {
		if width, _, err := term.GetSize(p.w.(*os.File).Fd()); err == nil && width > 0 {
			line = ansi.Truncate(line, width-1, "…")
		}
		fmt.Fprintf(p.w, "\r\x1b[2K%s", line)
		p.shown = true
		return
	}
	fmt.Fprintln(p.w, line)
}

// clear takes the live line away, so that something else can be printed.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[2K")
		p.shown = false
	}
}

func progressLine(what string, done, total int64, unit string, took time.Duration) string {
	line := fmt.Sprintf("%s %s", what, count(done))
	if total > 0 {
		line += " of " + count(total)
	}
	if unit != "" {
		line += " " + unit
	}
	if total > 0 {
		line += fmt.Sprintf(" (%.0f%%)", 100*float64(done)/float64(total))
	}
	if s := took.Seconds(); s > 0.5 && done > 0 {
		rate := float64(done) / s
		line += fmt.Sprintf(", %s/s", count(int64(rate)))
		if total > done {
			line += ", " + shortDuration(float64(total-done)/rate) + " left"
		}
	}
	return line
}

// count is a whole number with thousands apart.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// bytesText is a size in binary units.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	x, i := float64(n), 0
	for x >= 1024 && i < len(units)-1 {
		x /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", x, units[i])
}

// shortDuration is seconds as 4s, 3m05s or 2h07m.
func shortDuration(seconds float64) string {
	s := int(seconds + 0.5)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
}

// table prints rows in aligned columns; the first row is the heading.
func table(w io.Writer, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell + strings.Repeat(" ", widths[i]-len([]rune(cell))+2))
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}
