package cli

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"lathe/export/licence"
)

// Widths of a page: 80 columns, whatever the terminal, so that it can be mailed and pasted.
const (
	pageWidth  = 80
	labelWidth = 13
)

// page prints sections of labelled lines, wrapped to its width. The first error sticks.
type page struct {
	w    io.Writer
	bold bool
	err  error
}

func newPage(w io.Writer) *page { return &page{w: w, bold: isTerminal(w)} }

func (p *page) line(text string) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(text, " "))
	}
}

func (p *page) strong(text string) string {
	if p.bold {
		return "\x1b[1m" + text + "\x1b[0m"
	}
	return text
}

// title is the head of a page: what it is about at the left, where it lies at the right.
func (p *page) title(name, detail, where string) {
	left := name
	if detail != "" {
		left += "  " + detail
	}
	left, where = printable(left), printable(where)
	if over := ansi.StringWidth(where) - (pageWidth - ansi.StringWidth(left) - 2); over > 0 {
		where = ansi.TruncateLeft(where, over+1, "…")
	}
	gap := max(2, pageWidth-ansi.StringWidth(left)-ansi.StringWidth(where))
	p.line(p.strong(printable(name)) + strings.TrimPrefix(left, printable(name)) + strings.Repeat(" ", gap) + where)
	p.line(strings.Repeat("─", pageWidth))
}

// section begins a group of lines.
func (p *page) section(name string) {
	p.line("")
	p.line(p.strong(name))
}

// row is a label and its text, which goes on under itself.
func (p *page) row(label, text string) {
	if text == "" {
		return
	}
	for i, part := range wrapText(text, pageWidth-labelWidth-2) {
		if i > 0 {
			label = ""
		}
		p.line(fmt.Sprintf("  %-*s%s", labelWidth, label, part))
	}
}

// item is a text behind a mark.
func (p *page) item(mark, text string) {
	for i, part := range wrapText(text, pageWidth-4) {
		if i > 0 {
			mark = strings.Repeat(" ", ansi.StringWidth(mark))
		}
		p.line(strings.TrimPrefix("  "+mark+" ", map[bool]string{true: " "}[mark == ""]) + part)
	}
}

// printable replaces what a terminal would obey: names of tokens and licences come from a folder that anyone may have made.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

// wrapText breaks a text at spaces into lines of a width, and a word that is longer where it must be: paths stay whole as long
// as they can.
func wrapText(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(printable(text)) {
		if line != "" && ansi.StringWidth(line)+1+ansi.StringWidth(word) > width {
			lines, line = append(lines, line), ""
		}
		for ansi.StringWidth(word) > width {
			head := ansi.Truncate(word, width, "")
			lines, word = append(lines, head), word[len(head):]
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// print is the page of a model.
func (in *inspection) print(p *page) {
	p.title(firstOf(in.Family, "unknown family"), in.Architecture, cleanPath(in.dir))
	p.row("parameters", count(in.Parameters))
	p.row("weights", in.weightsLine())
	if in.Layers > 0 {
		p.row("shape", fmt.Sprintf("%s layers of %s, %s heads of %d (%s for keys and values), vocabulary %s", count(int64(in.Layers)),
			count(int64(in.Hidden)), count(int64(in.Heads)), in.HeadDim, count(int64(in.KVHeads)), count(int64(in.Vocab))))
	}
	p.row("context", in.contextLine())
	p.row("quantised", in.Quantization)
	p.section("Licence")
	in.printLicence(p)
	p.section("Tokenizer and template")
	in.printTokens(p)
	in.printMemory(p)
	if in.Adapter != nil {
		p.section("Adapter  " + cleanPath(in.Adapter.Dir))
		in.Adapter.print(p)
	}
	p.health(in.Health)
}

func cleanPath(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

func firstOf(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

func (in *inspection) weightsLine() string {
	text := fmt.Sprintf("%s in %d files", bytesText(in.Bytes), in.Shards)
	if in.Shards == 1 {
		text = bytesText(in.Bytes) + " in one file"
	}
	if len(in.DTypes) == 1 {
		return text + ", " + in.DType
	}
	for i, name := range slices.SortedFunc(maps.Keys(in.DTypes), func(a, b string) int { return int(sign(in.DTypes[b] - in.DTypes[a])) }) {
		text += map[bool]string{true: ": ", false: ", "}[i == 0] + name + " " + bytesText(in.DTypes[name])
	}
	return text
}

func sign(n int64) int64 { return min(1, max(-1, n)) }

func (in *inspection) contextLine() string {
	if in.ContextLength == 0 {
		return ""
	}
	text := count(int64(in.ContextLength)) + " tokens"
	if r := in.RoPE; r != nil {
		text += ", rope scaling " + r.Type
		if r.Factor > 0 {
			text += fmt.Sprintf(" ×%v", r.Factor)
		}
		if r.Original > 0 {
			text += " from " + count(int64(r.Original))
		}
	}
	if in.Window > 0 {
		text += ", window of " + count(int64(in.Window))
	}
	return text
}

func (in *inspection) printLicence(p *page) {
	l := in.LicenceDetails
	p.line("  " + p.strong(clipText(printable(l.String()), pageWidth-4)))
	for _, t := range l.Terms {
		mark := map[licence.Kind]string{licence.Forbids: "✗", licence.Demands: "!", licence.Allows: "✓"}[t.Kind]
		p.item(mark, fmt.Sprintf("%s %s (%s)", t.Kind, t.Text, t.Clause))
	}
	if l.Known {
		p.item("", "In short, and no legal advice: what is not listed here is not ruled out.")
	}
}

func (in *inspection) printTokens(p *page) {
	r := in.TokenizerHealth
	if r == nil {
		p.row("tokenizer", in.Tokenizer)
	} else {
		p.row("tokenizer", fmt.Sprintf("%s: %s tokens, %d of them special; the embedding has %s rows", firstOf(r.Kind, "unknown kind"), count(int64(r.VocabSize)), r.Special, count(int64(r.ModelSize))))
		name := func(t *token) string {
			if t == nil {
				return "none"
			}
			return fmt.Sprintf("%s (%d)", t.Text, t.ID)
		}
		bos := name(r.BOS)
		if r.AddsBOS {
			bos += ", put before every text"
		}
		p.row("bos", bos)
		p.row("eos", name(r.EOS))
		p.row("pad", name(r.PAD))
	}
	t := in.TemplateHealth
	if t == nil {
		p.row("template", in.Template)
		return
	}
	text := t.Source
	if len(t.Names) > 0 {
		text += " (" + strings.Join(t.Names, ", ") + ")"
	}
	p.row("template", text)
	if t.EndsWith != "" {
		stops := "where generation stops"
		if !t.Stops {
			stops = "where generation does NOT stop"
		}
		p.row("", fmt.Sprintf("an answer ends with %s, %s", t.EndsWith, stops))
	}
	if t.Masked {
		how := "by comparing renderings"
		if t.Generation {
			how = "by its {% generation %} blocks"
		}
		p.row("", "answers are told from prompts "+how)
	}
}

// printMemory is a table of methods by rows of a micro-batch.
func (in *inspection) printMemory(p *page) {
	if len(in.MemoryByRows) == 0 {
		return
	}
	p.section(fmt.Sprintf("Memory to train, rows of %s tokens", count(int64(in.BatchTokens))))
	head := fmt.Sprintf("  %-*s", labelWidth, "")
	for _, rows := range plannedRows {
		head += fmt.Sprintf("%14s", map[bool]string{true: "1 row", false: fmt.Sprintf("%d rows", rows)}[rows == 1])
	}
	p.line(head)
	fits := true
	for _, m := range planned {
		if byRows, ok := in.MemoryByRows[m.method]; ok {
			fits = in.memoryRow(p, string(m.method), byRows) && fits
		}
		if byRows, ok := in.Checkpointed[m.method]; ok {
			fits = in.memoryRow(p, "  checkpt.", byRows) && fits
		}
	}
	switch {
	case !fits:
		p.item("", fmt.Sprintf("✗ does not fit: %s are free here. The second lines are with gradient_checkpointing; `lathe plan` knows your run.", bytesText(in.MemoryFree)))
	case in.MemoryFree > 0:
		p.item("", fmt.Sprintf("%s are free here. The second lines are with gradient_checkpointing.", bytesText(in.MemoryFree)))
	}
}

// memoryRow prints a method's line, and tells whether all of it fits into this machine.
func (in *inspection) memoryRow(p *page, name string, byRows map[int]int64) (fits bool) {
	line, fits := fmt.Sprintf("  %-*s", labelWidth, name), true
	for _, rows := range plannedRows {
		cell := bytesText(byRows[rows])
		if in.MemoryFree > 0 && byRows[rows] > in.MemoryFree {
			cell, fits = "✗ "+cell, false
		}
		line += fmt.Sprintf("%14s", cell)
	}
	p.line(line)
	return fits
}

// health prints the findings, or that there is none.
func (p *page) health(list []finding) {
	p.section("Health")
	if len(list) == 0 {
		p.item("✓", "nothing wrong was found")
	}
	for _, f := range list {
		p.item(map[string]string{levelError: "✗", levelWarn: "!", levelInfo: "·"}[f.Level], f.Part+": "+f.Text)
	}
}
