package memory

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"lathe/session"
	"lathe/themes"
	"lathe/trainer"
	"lathe/tui/internal/golden"
	"lathe/tui/internal/synthetic"
	"lathe/tui/pane"
)

func context(t *synthetic.Tape) pane.Context {
	return pane.Context{Theme: themes.Must(themes.Options{Name: "dark"}), View: t.View}
}

func TestSizes(t *testing.T) {
	for _, tape := range []*synthetic.Tape{synthetic.New(), synthetic.At(0), synthetic.At(60)} {
		for _, w := range []int{5, 20, 44, 80, 120} {
			for _, h := range []int{2, 3, 10, 21, 45} {
				golden.Size(t, New().View(w, h, context(tape)), w, h)
			}
		}
	}
}

// The bar of owners is as wide as the pane, and each owner that has memory has a cell of it, however small.
func TestStack(t *testing.T) {
	th := themes.Must(themes.Options{Name: "mono", Profile: 1})
	m := trainer.MemoryPlan{Base: 1 << 40, Adapters: 1, Gradients: 1, Optimizer: 1, Activations: 1 << 20, Workspace: 1}
	bar := ansi.Strip(stack(th, m, 40))
	for i, fill := range th.Glyphs.Fills[:6] {
		if !strings.Contains(bar, fill) {
			t.Errorf("owner %d has no cell in %q", i, bar)
		}
	}
	golden.Size(t, stack(th, m, 40), 40, 1)
	golden.Size(t, stack(th, trainer.MemoryPlan{}, 40), 40, 1)
}

// The plan's offers are listed with what they save; of a plan that does not fit the verdict and the offers that mend it come
// before the other numbers.
func TestOffers(t *testing.T) {
	c := context(synthetic.At(0))
	fits := ansi.Strip(New().View(80, 40, c))
	for _, want := range []string{"change of run.yaml", "gradient_checkpointing: true", "259 MiB", "batch up to"} {
		if !strings.Contains(fits, want) {
			t.Errorf("the pane lacks %q:\n%s", want, fits)
		}
	}
	plan := *c.View.Plan
	plan.Fits, plan.Verdict, plan.Available = false, "it will not fit: 394 MiB wanted, 200 MiB free; gradient_checkpointing: true makes it fit (135 MiB)", 200<<20
	c.View.Plan = &plan
	tight := ansi.Strip(New().View(80, 24, c))
	if !strings.Contains(tight, "it will not fit: 394 MiB wanted") || !strings.Contains(tight, "✓ gradient_checkpointing: true") {
		t.Errorf("a plan that does not fit:\n%s", tight)
	}
}

// In a small terminal the offers are reached by scrolling, and the keys say so where there is nothing to reach.
func TestScroll(t *testing.T) {
	c := context(synthetic.At(0))
	c.Focused = true
	p := New()
	keys := map[string]pane.Key{}
	for _, k := range p.Keys() {
		keys[k.Keys[0]] = k
	}
	const offer = "gradient_checkpointing: true"
	if view := ansi.Strip(p.View(80, 21, c)); strings.Contains(view, offer) || !strings.Contains(view, "device") {
		t.Fatalf("at the top:\n%s", view)
	}
	if why := keys["pgdown"].Reason(c); why != "" {
		t.Fatalf("cannot scroll: %s", why)
	}
	keys["pgdown"].Run(c)
	view := p.View(80, 21, c)
	golden.Size(t, view, 80, 21)
	if text := ansi.Strip(view); !strings.Contains(text, offer) || strings.Contains(text, "device ") {
		t.Errorf("a page below:\n%s", text)
	}
	keys["pgup"].Run(c)
	if view := ansi.Strip(p.View(80, 21, c)); !strings.Contains(view, "device") {
		t.Errorf("back at the top:\n%s", view)
	}
	if p.View(80, 60, c); keys["down"].Reason(c) == "" {
		t.Error("scrolls where all is in sight")
	}
}

// The plan of a run at work is shown before that of the run.yaml on the table; afterwards the table's is what comes next.
func TestWhichPlan(t *testing.T) {
	tape := synthetic.At(60)
	other := trainer.Plan{Steps: 7, Fits: true}
	tape.Add(session.ConfigLoaded{Path: "next.yaml", Config: synthetic.Config()}, session.Forecast{Plan: &other})
	if p, _ := plan(context(tape)); p.Steps != synthetic.Steps {
		t.Errorf("while the run trains the plan has %d steps", p.Steps)
	}
	tape.Done()
	if p, _ := plan(context(tape)); p.Steps != 7 {
		t.Errorf("after the run the plan has %d steps, want the table's", p.Steps)
	}
	tape.Add(session.Forecast{Err: "the model's folder is gone"}, session.ConfigLoaded{Path: "next.yaml", Config: synthetic.Config()})
	c := context(synthetic.New().Add(session.ConfigLoaded{Config: synthetic.Config()}, session.Forecast{Err: "the model's folder is gone"}))
	if view := ansi.Strip(New().View(80, 21, c)); !strings.Contains(view, "the model's folder is gone") {
		t.Errorf("a plan that failed does not say why:\n%s", view)
	}
}

// Beside the plan's owners stands what NVML says: this process, the others, load and power of the GPU; of a host with more GPUs a
// line each. Gauges that are missing or old say so.
func TestGauges(t *testing.T) {
	draw := func(tape *synthetic.Tape, w, h int) string {
		view := New().View(w, h, context(tape))
		golden.Size(t, view, w, h)
		return ansi.Strip(view)
	}
	one := synthetic.At(60).GPU()
	for _, w := range []int{5, 20, 42, 44, 80, 120} {
		for _, h := range []int{2, 3, 10, 21, 45} {
			draw(one, w, h)
			draw(synthetic.At(60).GPUs(4), w, h)
			draw(synthetic.At(60).GPUs(1), w, h)
			draw(synthetic.At(60).NoGauges(), w, h)
		}
	}
	has := func(view string, want ...string) {
		t.Helper()
		for _, text := range want {
			if !strings.Contains(view, text) {
				t.Errorf("the pane lacks %q:\n%s", text, view)
			}
		}
	}
	has(draw(one, 80, 24), "4.00 GiB of 8.00 GiB", "process", "912 MiB", "3.00 GiB", "python3 (pid 4242)", "95%", "65 of 70 W", "72 °C · power cap")
	has(draw(synthetic.At(60).GPUs(4), 80, 45), "GPU 0 ", "100%", "680 W", "this host's other GPUs", "GPU 7  the GPU is lost")
	has(draw(synthetic.At(60).NoGauges(), 44, 24), "no GPU gauges: open NVML: no")
	stale := one.View.Gauges
	stale.Err = "these numbers are old: the driver has not answered for 5s"
	has(draw(one.Add(stale), 80, 24), "95%", "these numbers are old")
	unknown := session.Gauge{Label: "GPU 0", InUse: true, Total: session.Unknown, Used: session.Unknown, Own: session.Unknown, Busy: session.Unknown, Power: session.Unknown, Temperature: session.Unknown, Note: "MIG is on"}
	view := draw(one.Add(session.GaugesRead{GPUs: []session.Gauge{unknown}}), 80, 24)
	has(view, "? of ?", "MIG is on")
	if strings.Contains(view, "-1") || strings.Contains(view, "busy") {
		t.Errorf("a GPU that tells nothing:\n%s", view)
	}
}
