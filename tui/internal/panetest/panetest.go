// Package panetest drives a pane without a workbench: it presses keys, runs commands at once and gives their answers back, as
// the workbench does, and holds the drawings to their size.
package panetest

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"lathe/session"
	"lathe/themes"
	"lathe/tui/dialog"
	"lathe/tui/internal/golden"
	"lathe/tui/internal/synthetic"
	"lathe/tui/pane"
)

// Dark is the theme that stages have unless told otherwise.
var Dark = themes.Must(themes.Options{Name: "dark"})

// Stage is a pane with all that stands around it.
type Stage struct {
	T       testing.TB
	Pane    pane.Pane
	Live    *synthetic.Live
	Session pane.Session // Live, or one of the test's own
	Theme   *themes.Theme
	// What the pane has told, copied and asked of the session.
	Told   []pane.Told
	Copied string
	Sent   []session.Command

	stack dialog.Stack
	limit int // commands left before something must have gone wrong
}

// New puts a pane on a stage in front of a made-up workspace.
func New(t testing.TB, p pane.Pane, tape *synthetic.Tape) *Stage {
	s := &Stage{T: t, Pane: p, Live: synthetic.NewLive(tape), Theme: Dark}
	s.Session = s.Live
	s.Tell(pane.Changed{})
	return s
}

// recorder notes what is asked of a session.
type recorder struct {
	pane.Session
	s *Stage
}

// Do notes a command and passes it on.
func (r recorder) Do(c session.Command) error {
	r.s.Sent = append(r.s.Sent, c)
	return r.Session.Do(c)
}

// Context is what the pane sees now.
func (s *Stage) Context() pane.Context {
	return pane.Context{Session: recorder{s.Session, s}, Theme: s.Theme, View: s.Live.Take(), Focused: s.stack.Len() == 0}
}

// Tell gives the pane a message and settles what follows.
func (s *Stage) Tell(msg tea.Msg) {
	s.limit = 2000
	s.run(s.Pane.Update(msg, s.Context()))
}

// Change moves the made-up workspace and tells the pane.
func (s *Stage) Change(f func(*synthetic.Tape)) {
	s.Live.Change(f)
	s.Tell(pane.Changed{})
}

// run runs a command and all that its answers lead to.
func (s *Stage) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	if s.limit--; s.limit < 0 {
		s.T.Fatal("the pane's commands have no end")
	}
	switch msg := cmd().(type) {
	case nil:
	case pane.Told:
		s.Told = append(s.Told, msg)
	case pane.Open:
		s.stack.Push(msg.Dialog)
	case pane.Show:
	default:
		v := reflect.ValueOf(msg)
		switch {
		case v.Kind() == reflect.Slice && v.Type().Elem() == reflect.TypeFor[tea.Cmd]():
			for i := range v.Len() {
				s.run(v.Index(i).Interface().(tea.Cmd))
			}
		case strings.HasPrefix(v.Type().PkgPath(), "charm.land/bubbletea") && v.Kind() == reflect.String:
			s.Copied = v.String() // tea.SetClipboard's
		default:
			s.run(s.Pane.Update(msg, s.Context()))
		}
	}
	s.run(s.Pane.Update(pane.Changed{}, s.Context()))
}

// Press presses keys by their names, separated by blanks. A key that cannot act now tells why.
func (s *Stage) Press(keys string) {
	for _, key := range strings.Fields(keys) {
		s.press(Key(key))
	}
}

// Type types a text, character by character.
func (s *Stage) Type(text string) {
	for _, r := range text {
		s.press(tea.KeyPressMsg{Code: r, Text: string(r)})
	}
}

func (s *Stage) press(msg tea.KeyPressMsg) {
	s.limit = 2000
	if handled, cmd := s.stack.Update(msg); handled {
		s.run(cmd)
		return
	}
	if !s.Pane.Capturing() {
		for _, k := range s.Pane.Keys() {
			if !slices.Contains(k.Keys, msg.String()) {
				continue
			}
			c := s.Context()
			if k.Reason != nil {
				if why := k.Reason(c); why != "" {
					s.Told = append(s.Told, pane.Told{Text: why, Err: true})
					return
				}
			}
			s.run(k.Run(c))
			return
		}
	}
	s.Tell(msg)
}

// Word runs a word of the command line.
func (s *Stage) Word(name, args string) {
	s.T.Helper()
	s.limit = 2000
	for _, w := range s.Pane.Commands() {
		if w.Name == name {
			s.run(w.Run(s.Context(), args))
			return
		}
	}
	s.T.Fatalf("the pane has no word %q", name)
}

// LastTold is the newest line for the status bar.
func (s *Stage) LastTold() string {
	if len(s.Told) == 0 {
		return ""
	}
	return s.Told[len(s.Told)-1].Text
}

// View draws the pane and what lies over it, and checks the size.
func (s *Stage) View(width, height int) string {
	s.T.Helper()
	view := s.Pane.View(width, height, s.Context())
	golden.Size(s.T, view, width, height)
	return s.stack.View(s.Theme, view, width, height)
}

// Sizes are those of the goldens.
var Sizes = [][2]int{{80, 24}, {120, 40}, {160, 48}}

// Key makes the message of a key by its name, as tea.KeyPressMsg.String writes it.
func Key(name string) tea.KeyPressMsg {
	var mod tea.KeyMod
	for prefix, m := range map[string]tea.KeyMod{"ctrl+": tea.ModCtrl, "alt+": tea.ModAlt, "shift+": tea.ModShift} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			name, mod = rest, m
		}
	}
	codes := map[string]rune{
		"esc": tea.KeyEscape, "enter": tea.KeyEnter, "tab": tea.KeyTab, "up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft,
		"right": tea.KeyRight, "pgdown": tea.KeyPgDown, "pgup": tea.KeyPgUp, "home": tea.KeyHome, "end": tea.KeyEnd,
		"backspace": tea.KeyBackspace, "delete": tea.KeyDelete,
	}
	if c, ok := codes[name]; ok {
		return tea.KeyPressMsg{Code: c, Mod: mod}
	}
	if name == "space" {
		return tea.KeyPressMsg{Code: tea.KeySpace, Text: " ", Mod: mod}
	}
	if mod != 0 {
		return tea.KeyPressMsg{Code: []rune(name)[0], Mod: mod}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}
