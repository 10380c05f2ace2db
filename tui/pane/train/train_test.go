package train

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"lathe/session"
	"lathe/themes"
	"lathe/trainer"
	"lathe/tui/internal/golden"
	"lathe/tui/internal/synthetic"
	"lathe/tui/pane"
)

var dark = themes.Must(themes.Options{Name: "dark"})

func context(t *synthetic.Tape) pane.Context {
	return pane.Context{Session: synthetic.NewLive(t), Theme: dark, View: t.View, Focused: true}
}

// act presses a key of the pane's table.
func act(t *testing.T, p *Pane, c pane.Context, key string) tea.Cmd {
	t.Helper()
	for _, k := range p.Keys() {
		for _, name := range k.Keys {
			if name != key {
				continue
			}
			if k.Reason != nil && k.Reason(c) != "" {
				t.Fatalf("%s cannot act: %s", key, k.Reason(c))
			}
			return k.Run(c)
		}
	}
	t.Fatalf("no key %q", key)
	return nil
}

// The charts hold every step once however the views come, and begin anew with another run.
func TestChartsFollowTheRun(t *testing.T) {
	p := New()
	tape := synthetic.New().Loaded().Started()
	for _, step := range []int{1, 2, 50, 51, 300} {
		tape.To(step)
		p.Update(pane.Changed{}, context(tape))
		p.Update(pane.Changed{}, context(tape))
	}
	lossChart := p.charts.all[lossKind]
	if n := lossChart.Series("train loss").Len(); n != 300 {
		t.Errorf("%d losses on the chart after 300 steps", n)
	}
	if n := lossChart.Series("eval").Len(); n != len(tape.View.Run.Evals) {
		t.Errorf("%d evaluations on the chart, the run has %d", n, len(tape.View.Run.Evals))
	}
	second := context(tape)
	second.View.Run = session.RunView{RunSummary: session.RunSummary{ID: 2, Name: "next", State: session.Running}}
	p.Update(pane.Changed{}, second)
	if n := lossChart.Series("train loss").Len(); n != 0 {
		t.Errorf("a new run begins with %d losses of the last one", n)
	}
}

func TestCrosshairReadsTheStep(t *testing.T) {
	p, c := New(), context(synthetic.At(247))
	p.View(80, 21, c)
	act(t, p, c, "left")
	for range 10 {
		act(t, p, c, "left")
	}
	at, on := p.charts.crosshair()
	if !on || at.Step >= 247 {
		t.Fatalf("the crosshair is at step %d, %v", at.Step, on)
	}
	view := ansi.Strip(p.View(80, 21, c))
	for _, want := range []string{fmt.Sprintf("step %d", at.Step), fmt.Sprintf("loss %.4f", synthetic.Loss(at.Step)), "checkpoint-200"} {
		if !strings.Contains(view, want) {
			t.Errorf("the reading lacks %q:\n%s", want, view)
		}
	}
	p.Update(tea.KeyPressMsg{Code: tea.KeyEscape}, c)
	if _, on := p.charts.crosshair(); on {
		t.Error("esc leaves the crosshair")
	}
}

func TestNearestCheckpoint(t *testing.T) {
	c := &charts{saved: []trainer.Saved{{Step: 100, Path: "a"}, {Step: 200, Path: "b"}}}
	for step, want := range map[int]string{1: "a", 149: "a", 151: "b", 900: "b"} {
		if s, ok := c.nearest(step); !ok || s.Path != want {
			t.Errorf("nearest to %d is %q, want %q", step, s.Path, want)
		}
	}
	if _, ok := (&charts{}).nearest(3); ok {
		t.Error("a run without checkpoints has a nearest one")
	}
}

// c goes through all charts; where two stand, the loss stays above and the other one changes at every press.
func TestOtherChart(t *testing.T) {
	p, c := New(), context(synthetic.At(60))
	p.View(80, 21, c)
	for i := range kinds {
		if p.shown() != i {
			t.Errorf("after %d presses chart %d shows", i, p.shown())
		}
		act(t, p, c, "c")
	}
	if p.shown() != lossKind {
		t.Errorf("around all charts chart %d shows", p.shown())
	}
	p.View(120, 45, c)
	seen := map[int]bool{}
	for range len(kinds) - 1 {
		if p.shown() == lossKind || seen[p.shown()] {
			t.Errorf("below the loss chart %d shows again", p.shown())
		}
		seen[p.shown()] = true
		act(t, p, c, "c")
	}
}

// Zoom, pan and smoothing act on all charts alike, so that another one shows the same steps.
func TestChartsShareTheirWindow(t *testing.T) {
	p, c := New(), context(synthetic.At(400))
	p.View(120, 45, c)
	for _, key := range []string{"+", "+", "left", "left", "shift+left", "[", "s", "y", "shift+left", "shift+left"} {
		act(t, p, c, key)
		p.View(120, 45, c)
	}
	lo, hi := p.charts.all[lossKind].Window()
	for i, ch := range p.charts.all {
		// Windows follow each other by shares of their width: equal up to rounding of floats.
		if l, h := ch.Window(); math.Abs(l-lo) > 1e-6 || math.Abs(h-hi) > 1e-6 {
			t.Errorf("chart %d shows %v … %v, the loss %v … %v", i, l, h, lo, hi)
		}
		if !ch.Log() || ch.Smoothing() != smoothings[1] {
			t.Errorf("chart %d: log %v, smoothing %v", i, ch.Log(), ch.Smoothing())
		}
	}
}

// Values that are no numbers are drawn as gaps, and every size is exact.
func TestViewOfBrokenLosses(t *testing.T) {
	tape := synthetic.At(40)
	bad := synthetic.Step(41)
	bad.Loss, bad.GradNorm = math.NaN(), math.Inf(1)
	tape.Train(bad)
	p, c := New(), context(tape)
	for _, w := range []int{5, 20, 40, 80, 120} {
		for _, h := range []int{2, 3, 8, 14, 21, 45} {
			golden.Size(t, p.View(w, h, c), w, h)
		}
	}
	if view := ansi.Strip(p.View(80, 21, c)); !strings.Contains(view, "NaN") {
		t.Errorf("a loss that is no number is not named:\n%s", view)
	}
}

func TestMarkdown(t *testing.T) {
	text := Markdown(synthetic.At(247).View.Run)
	for _, want := range []string{"## Run refund: running", "| step | 247 of 600 |", "| 200 | 1.4841 | 4.411 |", "- step 200: `runs/refund/checkpoint-200`"} {
		if !strings.Contains(text, want) {
			t.Errorf("Markdown lacks %q:\n%s", want, text)
		}
	}
}

// The picture is well-formed XML with a line for each series and the command that goes on with the run.
func TestExport(t *testing.T) {
	t.Chdir(t.TempDir())
	p, c := New(), context(synthetic.At(247))
	p.View(80, 21, c)
	for _, key := range []string{"", "y"} {
		if key != "" {
			act(t, p, c, key)
		}
		told, ok := act(t, p, c, "e")().(pane.Told)
		if !ok || told.Err {
			t.Fatalf("export says %+v", told)
		}
		svg, err := os.ReadFile("runs/refund/loss-step-247.svg")
		if err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(strings.NewReader(string(svg))); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("not XML: %v", err)
			}
		}
		for _, want := range []string{"--resume runs/refund", ">train loss<", ">eval<", "loss of refund, step 247 of 600"} {
			if !strings.Contains(string(svg), want) {
				t.Errorf("the picture lacks %q", want)
			}
		}
		if strings.Contains(string(svg), "NaN") || strings.Contains(string(svg), "Inf") {
			t.Error("the picture has a place that is no number")
		}
	}
}

// The frame says what is trained, in the field's words, and how much of the model it is.
func TestMethodInTheFrame(t *testing.T) {
	for want, change := range map[string]func(*trainer.Config){
		"QLoRA of llama-60m, 1.9% trained":             func(*trainer.Config) {},
		"QDoRA of llama-60m, 1.9% trained":             func(c *trainer.Config) { c.LoRA.UseDoRA = true },
		"rsLoRA of llama-60m, 1.9% trained":            func(c *trainer.Config) { c.Method, c.LoRA.UseRSLoRA = trainer.MethodLoRA, true },
		"full fine-tuning of llama-60m":                func(c *trainer.Config) { c.Method = trainer.MethodFull },
		"prefix tuning of llama-60m, 1.9% trained":     func(c *trainer.Config) { c.Method = trainer.MethodPrefix },
		"Houlsby adapters of llama-60m, 1.9% trained":  func(c *trainer.Config) { c.Method = trainer.MethodAdapter },
		"Pfeiffer adapters of llama-60m, 1.9% trained": func(c *trainer.Config) { c.Method, c.Adapter.Config = trainer.MethodAdapter, "pfeiffer" },
	} {
		p, c := New(), context(synthetic.At(60))
		change(&c.View.Run.Config)
		first, _, _ := strings.Cut(ansi.Strip(p.View(80, 21, c)), "\n")
		if !strings.Contains(first, want+" ─") {
			t.Errorf("the frame is %q, want %q", first, want)
		}
	}
}
