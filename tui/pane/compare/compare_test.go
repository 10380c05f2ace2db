package compare

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

func FuzzKeys(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 40, 240, 8, 241, 50, 201, 30, 242, 243})
	f.Add([]byte("iHello\x08r\xf0\xf1\xf2s\xf3nNvVhY\xd0\xd1"))
	f.Fuzz(func(t *testing.T, script []byte) {
		s := panetest.New(t, New(), asked().Evaluated())
		panetest.Sequence(t, s, script, func(n int) { s.Live.Change(moves[n%len(moves)]) })
	})
}

// moves are what a session may do meanwhile.
var moves = []func(*synthetic.Tape){
	func(t *synthetic.Tape) { t.Answer(7) },
	func(t *synthetic.Tape) { t.Answered() },
	func(t *synthetic.Tape) {
		t.Ask(question, pane.DefaultSampling, session.VersionBase, session.VersionLive)
	},
	func(t *synthetic.Tape) { t.Ask(question, pane.DefaultSampling, session.VersionLive) },
	func(t *synthetic.Tape) { t.Evaluate(session.VersionLive, t.View.Run.Step) },
	func(t *synthetic.Tape) { t.Evaluating(session.VersionLive, 3) },
	func(t *synthetic.Tape) { t.To(t.View.Run.Step + 1) },
	func(t *synthetic.Tape) { *t = *synthetic.New().Loaded().Started() },
	func(t *synthetic.Tape) { *t = *synthetic.New() },
}

func TestDefaultVersions(t *testing.T) {
	for name, c := range map[string]struct {
		tape *synthetic.Tape
		want [2]string
	}{
		"no checkpoint":   {synthetic.New().Started().To(10), [2]string{session.VersionBase, session.VersionLive}},
		"one":             {synthetic.New().Started().To(110), [2]string{session.VersionBase, session.VersionLive}},
		"several":         {trained(), [2]string{synthetic.Checkpoint(200), synthetic.Checkpoint(300)}},
		"not started yet": {synthetic.New(), [2]string{session.VersionBase, session.VersionLive}},
	} {
		s := panetest.New(t, New(), c.tape)
		if got := s.Pane.(*Pane).versions(); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestAsk(t *testing.T) {
	s := panetest.New(t, New(), trained())
	s.Press("i")
	if !s.Pane.Capturing() {
		t.Fatal("i does not begin to type")
	}
	s.Type("Hello")
	s.Press("ctrl+j y enter")
	want := session.Prompt{Text: "Hello\ny", Versions: []string{synthetic.Checkpoint(200), synthetic.Checkpoint(300)}, Options: New().options}
	if len(s.Sent) != 1 || fmt.Sprint(s.Sent[0]) != fmt.Sprint(want) {
		t.Fatalf("sent %+v, want %+v", s.Sent, want)
	}
	s.Press("s r")
	if got := s.Sent[len(s.Sent)-1].(session.Prompt); got.Text != "Hello\ny" || got.Versions[0] != synthetic.Checkpoint(300) {
		t.Errorf("after a swap the prompt goes as %+v", got)
	}
	s.Word("versions", "base checkpoint-100")
	s.Word("compare", "And this?")
	if got := s.Sent[len(s.Sent)-1].(session.Prompt); got.Text != "And this?" || got.Versions[0] != session.VersionBase || got.Versions[1] != synthetic.Checkpoint(100) {
		t.Errorf(":compare sends %+v", got)
	}
	s.Press("N Y")
	if !strings.Contains(s.Copied, "**Prompt:** Hello") {
		t.Errorf("the comparison before the last is copied as %q", s.Copied)
	}
	s.Press("N N")
	if got := s.LastTold(); got != "this is the first one" {
		t.Errorf("before the first comparison: %q", got)
	}
}

// A case's prompt is asked again with r.
func TestAskCase(t *testing.T) {
	s := panetest.New(t, New(), trained().Evaluated())
	s.Press("v n n r")
	if got := s.Sent[0].(session.Prompt).Text; got != "My kettle broke after a year. What now?" {
		t.Errorf("asked %q", got)
	}
	if p := s.Pane.(*Pane); p.way != asPrompts || len(p.pairs) != 1 {
		t.Error("the answers are not in sight")
	}
}

func TestOnlyCasesThatDiffer(t *testing.T) {
	s := panetest.New(t, New(), trained().Evaluate(synthetic.Checkpoint(200), 200).Evaluate(synthetic.Checkpoint(300), 300))
	s.Press("v d")
	if got := s.LastTold(); got != "no case tells the versions apart" {
		t.Errorf("where all versions meet the same KPIs: %q", got)
	}
	s.Change(func(tape *synthetic.Tape) { tape.Evaluate(synthetic.Checkpoint(100), 100) })
	s.Press("d")
	p := s.Pane.(*Pane)
	if len(p.cases) != 3 || p.cases[0].ID != "refund" {
		t.Errorf("%d cases differ, the first is %v", len(p.cases), p.cases[0])
	}
	if view := s.View(120, 40); !strings.Contains(view, "case 1 of 3 that differ") {
		t.Errorf("the screen does not say so:\n%s", view)
	}
	s.Press("d")
	if len(p.cases) != 4 {
		t.Errorf("%d cases in all", len(p.cases))
	}
}

func TestStop(t *testing.T) {
	s := panetest.New(t, New(), asked().Answer(3))
	s.Press("x")
	if _, ok := s.Sent[0].(session.StopAnswers); !ok {
		t.Fatalf("sent %v", s.Sent)
	}
	if of, _ := s.Pane.(*Pane).current(); of[0].Finish != session.FinishStopped || of[1].Finish != session.FinishStopped {
		t.Errorf("finished by %q and %q", of[0].Finish, of[1].Finish)
	}
	s.Press("x")
	if got := s.LastTold(); got != "no answer is being written" {
		t.Errorf("a second x: %q", got)
	}
}

// Without colour what differs is underlined, and no sign needs Unicode.
func TestPlainThemes(t *testing.T) {
	for name, o := range map[string]themes.Options{"mono": {Name: "mono"}, "ascii": {Name: "mono", ASCII: true}} {
		s := panetest.New(t, New(), trained().Ask(question, pane.DefaultSampling, session.VersionBase, synthetic.Checkpoint(100)).Answered().Evaluated())
		s.Theme = themes.Must(o)
		view := s.View(120, 40)
		if !strings.Contains(view, "\x1b[0;4m") {
			t.Errorf("%s: nothing is underlined", name)
		}
		golden.Plain(t, name+"-120x40", view)
		if o.ASCII && strings.ContainsFunc(view, func(r rune) bool { return r > 0x7e }) {
			t.Errorf("%s is not plain:\n%s", name, view)
		}
	}
}

func TestReasons(t *testing.T) {
	s := panetest.New(t, New(), synthetic.New())
	for key, want := range map[string]string{
		"i": "no model is in memory: start a run with :train FILE", "r": "no model is in memory: start a run with :train FILE",
		"n": "nothing compared yet: i types a prompt", "h": "nothing compared yet: i types a prompt", "Y": "nothing to copy yet",
	} {
		s.Press(key)
		if got := s.LastTold(); got != want {
			t.Errorf("key %s: %q, want %q", key, got, want)
		}
	}
	if s.Pane.Capturing() {
		t.Error("a prompt is typed that nobody can answer")
	}
}

// Each version has one report, the newest, the base first and the live one last.
func TestReportsOrder(t *testing.T) {
	tape := trained().Evaluate(session.VersionLive, 320).Evaluated().Evaluate(synthetic.Checkpoint(100), 100)
	var got []string
	for _, r := range reportsOf(tape.View.Reports) {
		got = append(got, session.VersionName(r.Version))
	}
	if want := "[base checkpoint-100 checkpoint-200 checkpoint-300 live]"; fmt.Sprint(got) != want {
		t.Errorf("order %v, want %s", got, want)
	}
}

// While two versions answer, a token costs a line less than a row of text.
func TestBytesOnTheWire(t *testing.T) {
	s := panetest.New(t, New(), asked().Evaluated())
	wire := panetest.NewWire(t, 120, 40)
	first := wire.Frame(s.View(120, 40))
	total, frames := 0, 0
	for !s.Live.Take().Plays[3].Ended() {
		s.Change(func(tape *synthetic.Tape) { tape.Answer(1) })
		total += wire.Frame(s.View(120, 40))
		frames++
	}
	mean := total / frames
	t.Logf("first frame %d bytes, then %d a token over %d tokens", first, mean, frames)
	if mean > 150 {
		t.Errorf("a token costs %d bytes, want about 80, at most 150", mean)
	}
}
