package playground

import (
	"fmt"
	"strings"
	"testing"

	"lathe/session"
	"lathe/themes"
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

// moves are what a session may do meanwhile.
var moves = []func(*synthetic.Tape){
	func(t *synthetic.Tape) { t.Answer(7) },
	func(t *synthetic.Tape) { t.Answered() },
	func(t *synthetic.Tape) {
		t.Ask(question, pane.DefaultSampling, session.VersionBase, session.VersionLive)
	},
	func(t *synthetic.Tape) { t.Ask("\x1b[2J\u202e\ttext\n\n", pane.DefaultSampling, session.VersionLive) },
	func(t *synthetic.Tape) { t.To(t.View.Run.Step + 1) },
	func(t *synthetic.Tape) { t.Pause() },
	func(t *synthetic.Tape) { *t = *synthetic.New().Loaded().Started() },
	func(t *synthetic.Tape) { *t = *synthetic.New() },
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 40, 240, 8, 241, 50, 201, 30, 242, 243})
	f.Add([]byte("iHello\x08r\xf0\xf1\xf2s\xf3oNvVhY\xd0\xd1"))
	f.Fuzz(func(t *testing.T, script []byte) {
		s := panetest.New(t, New(), talk())
		panetest.Sequence(t, s, script, func(n int) { s.Live.Change(moves[n%len(moves)]) })
	})
}

func TestAsk(t *testing.T) {
	s := panetest.New(t, New(), synthetic.New().Loaded().Started().To(240))
	s.Press("v v i")
	if !s.Pane.Capturing() {
		t.Fatal("i does not begin to type")
	}
	s.Type("Hello")
	s.Press("alt+enter y enter")
	want := session.Prompt{Text: "Hello\ny", Versions: []string{synthetic.Checkpoint(100)}, Options: pane.DefaultSampling}
	if len(s.Sent) != 1 || fmt.Sprint(s.Sent[0]) != fmt.Sprint(want) {
		t.Fatalf("sent %+v, want %+v", s.Sent, want)
	}
	if !s.Pane.Capturing() {
		t.Error("after a prompt the next one cannot be typed at once")
	}
	s.Type("draft")
	s.Press("up")
	if got := s.Pane.(*Pane).prompt.Value(); got != "Hello\ny" {
		t.Errorf("up recalls %q", got)
	}
	s.Press("down")
	if got := s.Pane.(*Pane).prompt.Value(); got != "draft" {
		t.Errorf("down goes back to %q", got)
	}
	s.Press("esc")
	if s.Pane.Capturing() {
		t.Fatal("esc does not leave")
	}
	s.Word("version", "base")
	s.Word("sampling", "temperature=0 max-new-tokens=8")
	s.Press("r")
	got := s.Sent[1].(session.Prompt)
	if got.Text != "Hello\ny" || got.Versions[0] != session.VersionBase || got.Options.Temperature != 0 || got.Options.MaxNewTokens != 8 {
		t.Errorf("asked again: %+v", got)
	}
}

// A prompt that the session refuses comes back into the editor.
func TestRefusedPromptComesBack(t *testing.T) {
	s := panetest.New(t, New(), synthetic.New().Loaded().Started().To(20))
	s.Session = refusing{s.Live}
	s.Press("i")
	s.Type("precious")
	s.Press("enter")
	if got := s.Pane.(*Pane).prompt.Value(); got != "precious" {
		t.Errorf("the text is %q", got)
	}
	if got := s.LastTold(); got != "the session has ended" {
		t.Errorf("told %q", got)
	}
}

type refusing struct{ pane.Session }

func (refusing) Do(session.Command) error { return session.ErrClosed }

func TestSamplingForm(t *testing.T) {
	s := panetest.New(t, New(), synthetic.New().Loaded().Started().To(20).Pause())
	s.Press("o backspace backspace backspace 0 . 2 down down 4 0 enter")
	want := pane.DefaultSampling
	want.Temperature, want.TopK = 0.2, 40 // "0" and "40" behind it is 040
	if got := s.Pane.(*Pane).options; got != want {
		t.Errorf("options %+v, want %+v", got, want)
	}
	s.Press("o")
	s.Type("x")
	s.Press("enter")
	if view := s.View(80, 24); !strings.Contains(view, "temperature is a number from 0 to 100") {
		t.Errorf("a form with a bad number closes:\n%s", view)
	}
}

func TestReasons(t *testing.T) {
	s := panetest.New(t, New(), synthetic.New())
	for key, want := range map[string]string{
		"i": "no model is in memory: start a run with :train FILE", "v": "no model is in memory: start a run with :train FILE",
		"Y": "no answer yet: i types a prompt", "r": "no answer yet: i types a prompt",
	} {
		s.Press(key)
		if got := s.LastTold(); got != want {
			t.Errorf("key %s: %q, want %q", key, got, want)
		}
	}
	s.Word("version", "nine")
	if got := s.LastTold(); got != "no model is in memory: start a run with :train FILE" {
		t.Errorf(":version nine: %q", got)
	}
}

// What is copied is the text as the model wrote it, not as it is drawn.
func TestCopyIsRaw(t *testing.T) {
	raw := "a\tb\u200bc\x1b[0m"
	tape := synthetic.New().Loaded().Started().To(20).Ask(question, pane.DefaultSampling, session.VersionLive)
	play := tape.View.Plays[0]
	play.Text, play.Finish = raw, "stop"
	s := panetest.New(t, New(), tape.Add(session.PlayDone{Play: play}))
	if view := s.View(80, 24); strings.Contains(view, raw) || !strings.Contains(view, "<U+200B>") {
		t.Error("the answer is drawn as it is")
	}
	s.Press("Y")
	if s.Copied != raw {
		t.Errorf("copied %q, want %q", s.Copied, raw)
	}
}

func TestStop(t *testing.T) {
	s := panetest.New(t, New(), talk())
	s.Press("x")
	if _, ok := s.Sent[0].(session.StopAnswers); !ok {
		t.Fatalf("sent %v", s.Sent)
	}
	if view := s.View(80, 24); !strings.Contains(view, "stopped by you") {
		t.Errorf("the screen does not say so:\n%s", view)
	}
	s.Press("x")
	if got := s.LastTold(); got != "no answer is being written" {
		t.Errorf("a second x: %q", got)
	}
}

// Themes without colour and without Unicode lose nothing but looks.
func TestPlainThemes(t *testing.T) {
	for name, o := range map[string]themes.Options{"mono": {Name: "mono"}, "ascii": {Name: "mono", ASCII: true}} {
		s := panetest.New(t, New(), synthetic.New().Loaded().Started().To(240).Ask(question, pane.DefaultSampling, synthetic.Checkpoint(100)).Answered())
		s.Theme = themes.Must(o)
		s.Press("h i")
		s.Type("Hello")
		view := s.View(80, 24)
		golden.Plain(t, name+"-80x24", view)
		if o.ASCII && strings.ContainsFunc(view, func(r rune) bool { return r > 0x7e }) {
			t.Errorf("%s is not plain:\n%s", name, view)
		}
	}
}

// A comparison's answers stand in the Compare pane alone.
func TestComparisonsAreElsewhere(t *testing.T) {
	s := panetest.New(t, New(), synthetic.New().Loaded().Started().To(20).Ask(question, pane.DefaultSampling, session.VersionBase, session.VersionLive).Answered())
	if got := len(s.Pane.(*Pane).plays()); got != 0 {
		t.Errorf("%d plays of a comparison are shown", got)
	}
}

// An answer that is being written moves the screen in leaps, not with each line.
func TestBytesOnTheWire(t *testing.T) {
	s := panetest.New(t, New(), synthetic.New().Loaded().Started().To(240))
	wire := panetest.NewWire(t, 120, 40)
	s.Change(func(tape *synthetic.Tape) {
		for range 6 {
			tape.Ask(question, pane.DefaultSampling, synthetic.Checkpoint(100)).Answered()
		}
		tape.Ask(question, pane.DefaultSampling, synthetic.Checkpoint(100))
	})
	first := wire.Frame(s.View(120, 40))
	total, frames := 0, 0
	for n := len(s.Live.Take().Plays) - 1; s.Live.Take().Plays[n].Finish == ""; frames++ {
		s.Change(func(tape *synthetic.Tape) { tape.Answer(1) })
		total += wire.Frame(s.View(120, 40))
	}
	mean := total / frames
	t.Logf("first frame %d bytes, then %d a token over %d tokens", first, mean, frames)
	if mean > 200 {
		t.Errorf("a token costs %d bytes, want about 60, at most 200", mean)
	}
}
