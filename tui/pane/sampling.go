package pane

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lathe/session"
	"lathe/themes"
	"lathe/tui/dialog"
)

// DefaultSampling is how panes sample until told otherwise.
var DefaultSampling = session.PlayOptions{MaxNewTokens: 256, Temperature: 0.7, TopP: 0.9, Seed: 42}

// samplingField reads and writes one option of sampling.
type samplingField struct {
	name, short, help string
	get               func(session.PlayOptions) string
	set               func(*session.PlayOptions, string) error
}

var samplingFields = []samplingField{
	{
		"temperature", "T", "0 always takes the likeliest token",
		func(o session.PlayOptions) string { return number(o.Temperature) },
		func(o *session.PlayOptions, s string) error {
			return setNumber(&o.Temperature, s, "temperature", 0, 100)
		},
	},
	{
		"top-p", "top-p", "of the likeliest tokens, as many as have this probability together; 1 is off",
		func(o session.PlayOptions) string { return number(o.TopP) },
		func(o *session.PlayOptions, s string) error { return setNumber(&o.TopP, s, "top-p", 0, 1) },
	},
	{
		"top-k", "top-k", "so many of the likeliest tokens; 0 is off",
		func(o session.PlayOptions) string { return strconv.Itoa(o.TopK) },
		func(o *session.PlayOptions, s string) error { return setCount(&o.TopK, s, "top-k", 0) },
	},
	{
		"max-new-tokens", "max", "where an answer is cut off",
		func(o session.PlayOptions) string { return strconv.Itoa(o.MaxNewTokens) },
		func(o *session.PlayOptions, s string) error {
			return setCount(&o.MaxNewTokens, s, "max-new-tokens", 1)
		},
	},
	{
		"seed", "seed", "the same seed gives the same answer",
		func(o session.PlayOptions) string { return strconv.FormatUint(o.Seed, 10) },
		func(o *session.PlayOptions, s string) error {
			n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
			if err != nil {
				return errors.New("seed is a whole number from 0 on")
			}
			o.Seed = n
			return nil
		},
	},
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func setNumber(to *float64, s, name string, low, high float64) error {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(v) || v < low || v > high {
		return fmt.Errorf("%s is a number from %g to %g", name, low, high)
	}
	*to = v
	return nil
}

func setCount(to *int, s, name string, low int) error {
	v, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || v < low || v > math.MaxInt32 {
		return fmt.Errorf("%s is a whole number from %d on", name, low)
	}
	*to = v
	return nil
}

// SamplingText writes the options in a line: "T 0.7  top-p 0.9  max 256  seed 42". Greedy sampling needs but two of them.
func SamplingText(o session.PlayOptions) string {
	if o.Temperature == 0 {
		return fmt.Sprintf("greedy  max %d", o.MaxNewTokens)
	}
	words := []string{"T " + number(o.Temperature)}
	if o.TopP > 0 && o.TopP < 1 {
		words = append(words, "top-p "+number(o.TopP))
	}
	if o.TopK > 0 {
		words = append(words, fmt.Sprintf("top-k %d", o.TopK))
	}
	return strings.Join(append(words, fmt.Sprintf("max %d", o.MaxNewTokens), fmt.Sprintf("seed %d", o.Seed)), "  ")
}

// ParseSampling changes options by words such as temperature=0.7 seed=1; an unknown one is an error that lists the known.
func ParseSampling(o session.PlayOptions, args string) (session.PlayOptions, error) {
	for _, word := range strings.Fields(args) {
		name, value, found := strings.Cut(word, "=")
		if !found {
			return o, fmt.Errorf("%q is not NAME=VALUE: write temperature=0.7 seed=1", word)
		}
		known := false
		for _, f := range samplingFields {
			if name == f.name || name == f.short || strings.ReplaceAll(name, "_", "-") == f.name {
				known = true
				if err := f.set(&o, value); err != nil {
					return o, err
				}
			}
		}
		if !known {
			return o, fmt.Errorf("sampling has no %q: it has temperature, top-p, top-k, max-new-tokens and seed", name)
		}
	}
	return o, nil
}

// SamplingForm asks for the options of sampling.
func SamplingForm(th *themes.Theme, o session.PlayOptions, onDone func(session.PlayOptions) tea.Cmd) dialog.Dialog {
	fields := make([]dialog.Field, len(samplingFields))
	for i, f := range samplingFields {
		fields[i] = dialog.Field{Label: f.name, Value: f.get(o), Help: f.help, Validate: func(s string) error { return f.set(new(session.PlayOptions), s) }}
	}
	return dialog.NewForm(th, "Sampling", fields, func(values []string) tea.Cmd {
		next := o
		for i, f := range samplingFields {
			if err := f.set(&next, values[i]); err != nil {
				return func() tea.Msg { return Told{Text: err.Error(), Err: true} }
			}
		}
		return onDone(next)
	})
}

// VersionStep is the step that a version of the current run stands at: 0 for the base.
func VersionStep(r session.RunView, version string) int {
	switch version {
	case session.VersionBase:
		return 0
	case session.VersionLive:
		return r.Step
	}
	for _, s := range r.Saved {
		if s.Path == version {
			return s.Step
		}
	}
	return 0
}

// VersionText is a version's name, with the step where the name does not say it: "checkpoint-100", "live · step 312".
func VersionText(th *themes.Theme, version string, step int) string {
	name := session.VersionName(version)
	if step == 0 || strings.HasSuffix(name, "-"+strconv.Itoa(step)) {
		return name
	}
	return fmt.Sprintf("%s %s step %d", name, th.Glyphs.Dot, step)
}

// VersionOptions are versions as a choice, with the step of each.
func VersionOptions(r session.RunView, versions []string) []dialog.Option {
	options := make([]dialog.Option, len(versions))
	for i, v := range versions {
		options[i].Text = session.VersionName(v)
		if v != session.VersionBase {
			options[i].Note = fmt.Sprintf("step %d", VersionStep(r, v))
		}
	}
	return options
}
