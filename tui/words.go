package tui

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lathe/session"
	"lathe/themes"
	"lathe/trainer"
	"lathe/tui/dialog"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

// word is a command of the command line: a pane's, or one of the workbench's own.
type word struct {
	pane.Word
	slot     int // whose it is; none for the workbench's own
	need     bool
	run      func(m *model, args string) tea.Cmd
	complete func(c pane.Context, prefix string) []string // may read the disk
}

// words are all commands: the workbench's own, then the panes'.
func (m *model) words() []word {
	words := []word{
		{Word: pane.Word{Name: "open", Args: "FILE", Help: "look at a dataset"}, need: true, complete: files, run: func(m *model, file string) tea.Cmd {
			return m.sendAndShow(session.OpenData{Path: path(file)}, "data")
		}},
		{Word: pane.Word{Name: "config", Args: "FILE", Help: "lay a run.yaml on the table"}, need: true, complete: files, run: func(m *model, file string) tea.Cmd {
			return configure(m.session, path(file))
		}},
		{Word: pane.Word{Name: "train", Args: "[FILE]", Help: "start the run on the table"}, complete: files, run: trainWord},
		{Word: pane.Word{Name: "resume", Args: "[DIR]", Help: "go on, or from a checkpoint"}, complete: checkpoints, run: resumeWord},
		{Word: pane.Word{Name: "pause", Help: "halt after this step"}, run: send(session.Pause{})},
		{Word: pane.Word{Name: "release", Help: "pause, give the GPU's memory back"}, run: send(session.Release{})},
		{Word: pane.Word{Name: "stop", Help: "end with a checkpoint"}, run: send(session.Stop{})},
		{Word: pane.Word{Name: "save", Help: "write a checkpoint"}, run: send(session.Save{})},
		{Word: pane.Word{Name: "rollback", Args: "[DIR]", Help: "back to a checkpoint, paused"}, complete: checkpoints, run: func(m *model, dir string) tea.Cmd {
			return m.sendAndShow(session.RollBack{Checkpoint: path(dir)}, "train")
		}},
		{Word: pane.Word{Name: "skip", Args: "[FILE:LINE,…]", Help: "go on without some rows"}, run: skipWord},
		{Word: pane.Word{Name: "halve", Help: "go on at half the rate"}, run: func(m *model, _ string) tea.Cmd {
			return m.sendAndShow(session.HalveRate{}, "train")
		}},
		{Word: pane.Word{Name: "lint", Help: "check the open dataset"}, run: func(m *model, _ string) tea.Cmd {
			return m.sendAndShow(session.Lint{}, "data")
		}},
		{Word: pane.Word{Name: "prompt", Args: "TEXT", Help: "ask the model as it is"}, need: true, run: func(m *model, text string) tea.Cmd {
			return m.sendAndShow(session.Prompt{Text: text, Versions: []string{session.VersionLive}}, "playground")
		}},
		{Word: pane.Word{Name: "evaluate", Args: "[VERSION]", Help: "perplexity on the validation rows"}, complete: versions, run: evaluateWord},
		{Word: pane.Word{Name: "export", Args: "[peft|merged] OUT", Help: "write the adapter, or a merged model"}, need: true, complete: exports, run: exportWord},
		{Word: pane.Word{Name: "theme", Args: "[NAME]", Help: "colours"}, run: themeWord, complete: completeTheme},
		{Word: pane.Word{Name: "log", Help: "all events"}, run: func(m *model, _ string) tea.Cmd { return m.openLog() }},
		{Word: pane.Word{Name: "help", Help: "keys and commands"}, run: func(m *model, _ string) tea.Cmd { return m.openHelp() }},
		{Word: pane.Word{Name: "quit", Help: "leave"}, run: func(m *model, _ string) tea.Cmd { return m.leave() }},
	}
	for i := range words {
		words[i].slot = none
	}
	for i, s := range m.slots {
		for _, w := range s.pane.Commands() {
			if !slices.ContainsFunc(words, func(known word) bool { return known.Name == w.Name }) {
				words = append(words, word{Word: w, slot: i})
			}
		}
	}
	return words
}

// wordBindings are the commands as rows of the help panel.
func (m *model) wordBindings() []widget.Binding {
	var out []widget.Binding
	for _, w := range m.words() {
		out = append(out, widget.Binding{Keys: []string{strings.TrimSpace(":" + w.Name + " " + w.Args)}, Help: w.Help, Group: "Commands"})
	}
	return out
}

func send(c session.Command) func(*model, string) tea.Cmd {
	return func(m *model, _ string) tea.Cmd { return pane.Send(m.session, c) }
}

// sendAndShow gives a command and brings the pane that shows what comes of it.
func (m *model) sendAndShow(c session.Command, name string) tea.Cmd {
	if i := m.paneNamed(name); i >= 0 {
		m.choose(i)
	}
	return pane.Send(m.session, c)
}

// load reads a run.yaml, with a line for the status bar where it cannot be read.
func load(file string) (trainer.Config, *pane.Told) {
	c, err := trainer.LoadConfig(file)
	if err != nil {
		return c, &pane.Told{Text: err.Error(), Err: true}
	}
	return c, nil
}

func configure(s pane.Session, file string) tea.Cmd {
	return func() tea.Msg {
		c, bad := load(file)
		if bad != nil {
			return *bad
		}
		if err := s.Do(session.LoadConfig{Path: file, Config: c}); err != nil {
			return pane.Told{Text: err.Error(), Err: true}
		}
		return pane.Told{Text: file + " is on the table: :train starts it"}
	}
}

func trainWord(m *model, file string) tea.Cmd {
	if i := m.paneNamed("train"); i >= 0 {
		m.choose(i)
	}
	if file == "" {
		if m.view.Config == nil {
			m.told(pane.Told{Text: "no run.yaml is on the table: name one, :train FILE", Err: true})
			return nil
		}
		return pane.Send(m.session, session.Start{Config: *m.view.Config})
	}
	s, file := m.session, path(file)
	return func() tea.Msg {
		c, bad := load(file)
		if bad != nil {
			return *bad
		}
		for _, command := range []session.Command{session.LoadConfig{Path: file, Config: c}, session.Start{Config: c}} {
			if err := s.Do(command); err != nil {
				return pane.Told{Text: err.Error(), Err: true}
			}
		}
		return nil
	}
}

// resumeWord goes on with the paused run, or begins one from a checkpoint with the configuration of the run at hand.
func resumeWord(m *model, dir string) tea.Cmd {
	v := m.view
	if dir == "" && (v.Run.State == session.Paused || v.Run.State == session.Pausing) {
		return pane.Send(m.session, session.Resume{})
	}
	if dir == "" {
		dir = v.Run.Output
	}
	var c trainer.Config
	switch {
	case dir == "":
		m.told(pane.Told{Text: "no run is paused: name a checkpoint, :resume DIR", Err: true})
		return nil
	case v.Run.Name != "" && strings.HasPrefix(path(dir), v.Run.Output):
		c = v.Run.Config
	case v.Config != nil:
		c = *v.Config
	case v.Run.Name != "":
		c = v.Run.Config
	default:
		m.told(pane.Told{Text: "whose checkpoint is it? put its run.yaml on the table first: :config FILE", Err: true})
		return nil
	}
	if i := m.paneNamed("train"); i >= 0 {
		m.choose(i)
	}
	return pane.Send(m.session, session.Start{Config: c, Resume: path(dir)})
}

// evaluateWord measures a version, or all of them, on the run's validation rows; Compare shows what comes of it.
func evaluateWord(m *model, version string) tea.Cmd {
	versions := m.view.Run.Versions()
	if version != "" {
		versions = []string{version}
	}
	return m.sendAndShow(session.Evaluate{Versions: versions, Suite: session.Validation}, "compare")
}

// versions completes what can be asked: base, checkpoints, live.
func versions(c pane.Context, prefix string) []string {
	return slices.DeleteFunc(c.View.Run.Versions(), func(v string) bool { return !strings.HasPrefix(v, prefix) })
}

// exportWord writes the trained adapter in PEFT's layout, or a model that it is merged into.
func exportWord(m *model, args string) tea.Cmd {
	format, out := "peft", args
	if word, rest, more := strings.Cut(args, " "); more && slices.Contains(exportFormats, word) {
		format, out = word, strings.TrimSpace(rest)
	}
	if slices.Contains(exportFormats, out) || out == "" {
		m.told(pane.Told{Text: "name the folder to write: :export " + format + " OUT", Err: true})
		return nil
	}
	return pane.Send(m.session, session.Export{Version: session.VersionLive, Format: format, Out: path(out)})
}

var exportFormats = []string{"peft", "merged"}

// exports completes a format, then a folder.
func exports(c pane.Context, prefix string) []string {
	if word, rest, more := strings.Cut(prefix, " "); more && slices.Contains(exportFormats, word) {
		found := files(c, rest)
		for i := range found {
			found[i] = word + " " + found[i]
		}
		return found
	}
	var found []string
	for _, f := range exportFormats {
		if strings.HasPrefix(f, prefix) {
			found = append(found, f+" ")
		}
	}
	return append(found, files(c, prefix)...)
}

// skipWord goes on with the run that has ended, without the rows that were named or those that the guard found.
func skipWord(m *model, list string) tea.Cmd {
	rows, err := trainer.ParseRows(list)
	if err != nil {
		m.told(pane.Told{Text: err.Error(), Err: true})
		return nil
	}
	return m.sendAndShow(session.SkipRows{Rows: rows}, "train")
}

// checkpoints completes the run's own checkpoints before files.
func checkpoints(c pane.Context, prefix string) []string {
	var found []string
	for _, s := range slices.Backward(c.View.Run.Saved) {
		if strings.HasPrefix(s.Path, prefix) {
			found = append(found, s.Path)
		}
	}
	if len(found) > 0 {
		return found
	}
	return files(c, prefix)
}

func themeNames() []string {
	names := []string{"auto"}
	for _, p := range themes.Palettes() {
		names = append(names, p.Name)
	}
	return names
}

func completeTheme(_ pane.Context, prefix string) []string {
	return slices.DeleteFunc(themeNames(), func(n string) bool { return !strings.HasPrefix(n, prefix) })
}

// themeWord changes the colours; without a name it asks for one.
func themeWord(m *model, name string) tea.Cmd {
	if name != "" {
		m.setTheme(name)
		return nil
	}
	options := []dialog.Option{{Text: "auto", Note: "as the terminal's background"}}
	at := 0
	for i, p := range themes.Palettes() {
		options = append(options, dialog.Option{Text: p.Name, Note: p.Doc})
		if p.Name == m.themeName {
			at = i + 1
		}
	}
	d := dialog.NewChoose(m.theme, "Theme", options, at, func(i int) tea.Cmd {
		m.setTheme(options[i].Text)
		return nil
	})
	d.Plain = true
	m.stack.Push(d)
	return nil
}

func (m *model) setTheme(name string) {
	if _, err := themes.New(themes.Options{Name: name}); err != nil {
		m.told(pane.Told{Text: err.Error(), Err: true})
		return
	}
	if name == "auto" {
		name = ""
	}
	m.themeName = name
	m.dress()
	if m.theme.Mono() && name != "" && name != "mono" {
		m.told(pane.Told{Text: "this terminal shows no colour (NO_COLOR, or its TERM): the theme changes nothing", Err: true})
	}
}

// openLog shows the whole log, the newest line first.
func (m *model) openLog() tea.Cmd {
	var b strings.Builder
	for _, l := range slices.Backward(m.view.Log) {
		fmt.Fprintf(&b, "%s  %s\n", l.Time.Format("15:04:05"), strings.ReplaceAll(l.Text, "\n", " "))
	}
	if b.Len() == 0 {
		b.WriteString("Nothing has happened in this workspace yet.")
	}
	m.stack.Push(&dialog.Message{Title: "Events, newest first", Body: strings.TrimRight(b.String(), "\n")})
	return nil
}
