package compare

import (
	"fmt"
	"testing"

	"lathe/session"
	"lathe/tui/internal/golden"
	"lathe/tui/internal/panetest"
	"lathe/tui/internal/synthetic"
	"lathe/tui/pane"
)

const question = "Explain our company refund policy."

func trained() *synthetic.Tape { return synthetic.New().Loaded().Started().To(350) }

func asked() *synthetic.Tape {
	return trained().
		Ask("When will my parcel arrive?", pane.DefaultSampling, session.VersionBase, session.VersionLive).Answered().
		Ask(question, pane.DefaultSampling, synthetic.Checkpoint(100), synthetic.Checkpoint(300))
}

func TestGoldens(t *testing.T) {
	for name, c := range map[string]struct {
		tape *synthetic.Tape
		keys string
	}{
		"pair":     {asked().Answered().Evaluated(), ""},
		"writing":  {asked().Answer(60), ""},
		"heat":     {asked().Answered(), "h"},
		"cases":    {trained().Evaluated(), "v n"},
		"reports":  {trained().Evaluated().Evaluating(session.VersionLive, 23), "V"},
		"typing":   {asked().Answered(), "i H i"},
		"fresh":    {trained(), ""},
		"noreport": {trained(), "v"},
		"empty":    {synthetic.New(), ""},
	} {
		for _, size := range panetest.Sizes {
			s := panetest.New(t, New(), c.tape)
			s.View(size[0], size[1])
			s.Press(c.keys)
			golden.Plain(t, fmt.Sprintf("%s-%dx%d", name, size[0], size[1]), s.View(size[0], size[1]))
		}
	}
}
