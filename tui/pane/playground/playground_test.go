package playground

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

// talk is a conversation with three versions, the last answer half written.
func talk() *synthetic.Tape {
	return synthetic.New().Loaded().Started().To(240).
		Ask(question, pane.DefaultSampling, session.VersionBase).Answered().
		Ask(question, pane.DefaultSampling, synthetic.Checkpoint(100)).Answered().
		Ask("And in one sentence,\nfor a customer in a hurry?", session.PlayOptions{MaxNewTokens: 64}, session.VersionLive).Answer(20)
}

func TestGoldens(t *testing.T) {
	for name, c := range map[string]struct {
		tape *synthetic.Tape
		keys string
	}{
		"talk":    {talk(), ""},
		"heat":    {talk().Answered(), "h"},
		"typing":  {talk().Answered(), "v i H e l l o alt+enter y o u"},
		"waiting": {synthetic.New().Loaded().Started().To(240).Ask(question, pane.DefaultSampling, session.VersionLive), ""},
		"fresh":   {synthetic.New().Loaded().Started().To(240), ""},
		"form":    {synthetic.New().Loaded().Started().To(240).Pause(), "o"},
		"empty":   {synthetic.New(), "i"},
	} {
		for _, size := range panetest.Sizes {
			s := panetest.New(t, New(), c.tape)
			s.View(size[0], size[1])
			s.Press(c.keys)
			golden.Plain(t, fmt.Sprintf("%s-%dx%d", name, size[0], size[1]), s.View(size[0], size[1]))
		}
	}
}
