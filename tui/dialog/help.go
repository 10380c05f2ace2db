package dialog

import (
	"lathe/themes"
	"lathe/tui/widget"

	tea "charm.land/bubbletea/v2"
)

// Help shows the key table. Make it by its literal.
type Help struct {
	Title    string
	Bindings []widget.Binding
	top      int
	rows     int
	page     int
}

// Update scrolls; ?, q and enter close.
func (h *Help) Update(msg tea.Msg) (bool, tea.Cmd) {
	key, ok := msg.(tea.KeyPressMsg)
	if !ok {
		return false, nil
	}
	switch key.String() {
	case "?", "q", "enter", "f1":
		return true, nil
	}
	h.top = scrollKey(key.String(), h.top, h.page, h.rows)
	return false, nil
}

// Cancel does nothing: there is nothing to undo.
func (h *Help) Cancel() tea.Cmd { return nil }

// View draws the keys in columns.
func (h *Help) View(th *themes.Theme, width, height int) string {
	rows := widget.HelpRows(th, h.Bindings, max(min(width, 132)-4, 1))
	want := 0
	if len(rows) > 0 {
		want = widget.Width(rows[0])
	}
	w := fitWidth(want, min(40, width), width)
	inner := max(w-4, 1)
	h.rows, h.page = len(rows), max(height-4, 1)
	h.top = min(max(h.top, 0), max(h.rows-h.page, 0))
	shown := rows[h.top:min(h.top+h.page, h.rows)]
	pairs := []string{"?", "close"}
	if h.rows > h.page {
		pairs = append(pairs, th.Glyphs.Up+th.Glyphs.Down, "scroll")
	}
	return box(th, orText(h.Title, "Keys"), themes.None, shown, hint(th, inner, pairs...), w)
}
