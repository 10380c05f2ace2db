package panetest

import (
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"lathe/tui/internal/golden"
	"lathe/tui/pane"
)

// alphabet are the keys that fuzzed sequences press.
var alphabet = strings.Fields("up down left right pgup pgdown home end enter esc tab shift+tab backspace delete space alt+enter ctrl+j ctrl+p " +
	"ctrl+n ctrl+u ctrl+z ctrl+w ctrl+k a b c d e f g h i j k l m n o p q r s t u v w x y z A B C E G H J K N P R S V Y Z 0 1 9 / : ! ~ . - + [ ] =")

// Sequence runs one fuzzed sequence on a pane: each byte is a key, a size, a paste, a turn of the wheel or a change of the
// workspace. Whatever comes, the drawing keeps its size, and a pane that takes text lets go of it on esc.
func Sequence(t *testing.T, s *Stage, script []byte, change func(n int)) {
	width, height := 80, 24
	for i, b := range script[:min(len(script), 200)] {
		switch {
		case b < 200:
			s.press(Key(alphabet[int(b)%len(alphabet)]))
		case b < 215:
			sizes := [][2]int{{80, 24}, {120, 40}, {160, 48}, {40, 12}, {20, 5}, {5, 3}, {3, 2}, {1, 1}, {200, 60}, {119, 9}}
			size := sizes[int(b)%len(sizes)]
			width, height = size[0], size[1]
		case b < 225:
			texts := []string{"Explain our\nrefund\x1b[31m\tpolicy\u202e", "日本語 🙂 e\u0301", "level:error code:pii_email", "label:none (", "~xyz", "\xff\xfe"}
			s.tellOrStack(tea.PasteMsg{Content: texts[int(b)%len(texts)]})
		case b < 232:
			s.tellOrStack(tea.MouseWheelMsg{X: i % 80, Y: i % 24, Button: []tea.MouseButton{tea.MouseWheelUp, tea.MouseWheelDown, tea.MouseWheelLeft}[int(b)%3]})
		case b < 240:
			s.tellOrStack(tea.MouseClickMsg{X: i * 7 % 130, Y: i * 3 % 40, Button: tea.MouseLeft})
		default:
			change(int(b))
			s.Tell(pane.Changed{})
		}
		golden.Size(t, s.View(width, height), width, height)
		if t.Failed() {
			t.Fatalf("after %q", script[:i+1])
		}
	}
	for range 8 { // dialogs above dialogs
		s.press(Key("esc"))
	}
	if s.Pane.Capturing() || s.stack.Len() > 0 {
		t.Fatal("esc does not give the keys back")
	}
}

func (s *Stage) tellOrStack(msg tea.Msg) {
	if handled, cmd := s.stack.Update(msg); handled {
		s.run(cmd)
		return
	}
	if _, pasted := msg.(tea.PasteMsg); pasted && !s.Pane.Capturing() {
		return
	}
	s.Tell(msg)
}
