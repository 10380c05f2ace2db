package data

import (
	"fmt"
	"testing"

	"lathe/tui/internal/golden"
	"lathe/tui/internal/panetest"
	"lathe/tui/internal/synthetic"
)

func stage(t testing.TB) *panetest.Stage {
	return panetest.New(t, New(), synthetic.New().Loaded().Checked())
}

func TestGoldens(t *testing.T) {
	for name, keys := range map[string]string{
		"rows": "", "finding": "n", "rendered": "n v", "tokens": "n v v", "inside": "n v v enter", "broken": "n n n n", "filters": "f",
	} {
		for _, size := range panetest.Sizes {
			s := stage(t)
			s.View(size[0], size[1])
			s.Press(keys)
			golden.Plain(t, fmt.Sprintf("%s-%dx%d", name, size[0], size[1]), s.View(size[0], size[1]))
		}
	}
	golden.Plain(t, "empty-80x24", panetest.New(t, New(), synthetic.New()).View(80, 24))
}
