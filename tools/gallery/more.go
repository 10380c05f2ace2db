package main

import (
	"fmt"
	"strings"
	"time"

	"lathe/themes"
	"lathe/tui/dialog"
	"lathe/tui/widget"
)

func memory(th *themes.Theme, width, height int) string {
	return shell(th, 4, width, height, func(w, h int) string {
		s := widget.Stacked{Capacity: 16 << 30, Shares: []widget.Share{
			{Name: "base NF4", Planned: 4 << 30, Used: 4 << 30},
			{Name: "adapters", Planned: 160 << 20, Used: 160 << 20},
			{Name: "optimiser", Planned: 320 << 20, Used: 320 << 20},
			{Name: "activations", Planned: 6 << 30, Used: 5100 << 20},
			{Name: "KV cache", Planned: 512 << 20, Used: 0},
			{Name: "workspace", Planned: 800 << 20, Used: 900 << 20},
		}}
		rows := widget.Split(h, widget.Fixed(s.Height()+2), widget.Fixed(8), widget.Flex(1, 3))
		top := framed(th, widget.Frame{Title: "Memory", Info: "cuda:0", Focused: true}, w, rows[0], func(w, h int) string {
			return s.View(th, w, h)
		})
		mid := framed(th, widget.Frame{Title: "Device"}, w, rows[1], func(w, h int) string {
			var out []string
			for i, f := range []float64{0.61, 0.83, 0.97, 0.004} {
				out = append(out, widget.Gauge{Label: []string{"compute", "memory", "power", "fan"}[i], LabelWidth: 9, Frac: f}.View(th, w))
			}
			values := make([]float64, w)
			for i := range values {
				values[i] = wave(i * 6)
			}
			out = append(out, widget.Sparkline(th, values, w, themes.Series1))
			out = append(out, widget.Notice{Kind: widget.NoticeGood, Text: "saved runs/refund/checkpoint-600"}.View(th, w))
			return strings.Join(out, "\n")
		})
		end := framed(th, widget.Frame{Title: "Runs"}, w, rows[2], func(w, h int) string {
			return widget.Empty(th, w, h, "No other run", "n starts one, :open FOLDER looks elsewhere")
		})
		return widget.JoinV(top, mid, end)
	})
}

func over(th *themes.Theme, width, height int, d dialog.Dialog) string {
	var s dialog.Stack
	s.Push(d)
	return s.View(th, train(th, width, height), width, height)
}

func help(th *themes.Theme, width, height int) string {
	return over(th, width, height, &dialog.Help{Bindings: bindings})
}

func confirm(th *themes.Theme, width, height int) string {
	return over(th, width, height, &dialog.Confirm{
		Title: "Stop the run?", Danger: true, Yes: "Stop", No: "Go on",
		Body: "The run stops after step 421. The last checkpoint is step 400; 21 steps would have to be done again.",
	})
}

func choose(th *themes.Theme, width, height int) string {
	var opts []dialog.Option
	for i := range 12 {
		o := dialog.Option{Text: fmt.Sprint("checkpoint-", (i+1)*100), Note: fmt.Sprintf("eval loss %.3f", 2.1-float64(i)*0.08)}
		if i == 3 {
			o.Off = "its folder is not complete: adapter_model.safetensors is missing"
		}
		opts = append(opts, o)
	}
	return over(th, width, height, dialog.NewChoose(th, "Prompt which checkpoint?", opts, 2, nil))
}

// ink shows each token of the palette.
func ink(th *themes.Theme, width, height int) string {
	names := []struct {
		name string
		tok  themes.Token
	}{
		{"Text", themes.Text},
		{"Muted", themes.Muted},
		{"Faint", themes.Faint},
		{"Title", themes.Title},
		{"Accent", themes.Accent},
		{"Good", themes.Good},
		{"Warn", themes.Warn},
		{"Bad", themes.Bad},
		{"Info", themes.Info},
		{"Trained", themes.Trained},
		{"Masked", themes.Masked},
		{"Special", themes.Special},
		{"Border", themes.Border},
		{"BorderFocus", themes.BorderFocus},
		{"Series1", themes.Series1},
		{"Series2", themes.Series2},
		{"Series3", themes.Series3},
		{"Series4", themes.Series4},
		{"Series5", themes.Series5},
		{"Series6", themes.Series6},
	}
	var out []string
	for _, n := range names {
		l := widget.NewLine(th, width)
		l.Field(themes.FG(n.tok), n.name, 14, widget.Left)
		l.Add(themes.FG(n.tok), strings.Repeat(th.Glyphs.BarFull, 12)).Space(2)
		l.Add(themes.FG(n.tok).On(themes.Panel), " the quick brown fox ").Space(2)
		l.Add(themes.FG(n.tok, themes.Bold), "bold")
		out = append(out, l.String())
	}
	l := widget.NewLine(th, width)
	for i := range themes.NumHeat {
		l.Add(themes.Heat((float64(i)+0.5)/themes.NumHeat), fmt.Sprintf(" heat %d ", i))
	}
	out = append(out, l.String())
	for i, f := range []float64{0, 0.02, 0.5, 0.99, 1} {
		out = append(out, widget.Progress{
			Label: "training", Done: f * 1200, Total: 1200, Unit: "steps", Rate: "12.3k tok/s", Left: time.Duration(i) * time.Minute,
		}.View(th, width))
	}
	return widget.Block(strings.Join(out, "\n"), width, height)
}
