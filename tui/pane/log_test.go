package pane_test

import (
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"lathe/datasets"
	"lathe/session"
	"lathe/themes"
	"lathe/tui/internal/golden"
	"lathe/tui/pane"
)

// The newest events fit whole, the newest last; names stay in one piece, and hostile text is drawn as text.
func TestLogRows(t *testing.T) {
	th := themes.Must(themes.Options{Name: "dark"})
	at := time.Date(2026, 5, 4, 9, 30, 0, 0, time.UTC)
	log := []session.LogLine{
		{Time: at, Level: datasets.LevelInfo, Text: "the oldest event"},
		{Time: at, Level: datasets.LevelWarn, Text: "a warning whose text goes over more than one row of the log"},
		{Time: at, Level: datasets.LevelError, Text: "step 9: saved checkpoint-123456789 \x1b[31m\u202e in a folder/of-a-very-long-name-that-no-row-can-hold-in-one-piece"},
	}
	for _, w := range []int{12, 20, 40, 80, 160} {
		for h := range 12 {
			rows := pane.LogRows(th, log, w, h)
			if len(rows) > h {
				t.Errorf("%d rows in %d", len(rows), h)
			}
			for _, r := range rows {
				golden.Size(t, r, w, 1)
			}
		}
	}
	rows := strings.Split(ansi.Strip(strings.Join(pane.LogRows(th, log, 40, 12), "\n")), "\n")
	text := strings.Join(rows, "\n")
	if !strings.Contains(text, "checkpoint-123456789") {
		t.Errorf("a name is torn apart:\n%s", text)
	}
	if !strings.HasPrefix(rows[0], "09:30 · the oldest event") {
		t.Errorf("the first row is %q", rows[0])
	}
	if few := pane.LogRows(th, log, 160, 2); len(few) != 2 || !strings.Contains(few[1], "saved") {
		t.Errorf("two rows hold %q", few)
	}
}
