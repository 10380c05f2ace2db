// Package licence reads what a model folder says of its licence, and knows what the licences of open-weight models forbid
// and demand. It never guesses: a licence that it does not know is reported as written.
package licence

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Licence is what a model folder says of its licence.
type Licence struct {
	ID   string `json:"id,omitempty"`   // the Hub's identifier (apache-2.0, llama3.1, gemma), "" where it has none
	Name string `json:"name,omitempty"` // in full, "" where it is not known
	// Stated is the words of the folder itself: license and license_name of the model card, or the licence file's first line.
	Stated string `json:"stated,omitempty"`
	Link   string `json:"link,omitempty"`   // license_link of the model card
	Source string `json:"source,omitempty"` // the file that says so
	// Known tells that the licence is one whose terms are listed here.
	Known bool   `json:"known"`
	Terms []Term `json:"terms"`
	// Conflict says where model card and licence file name different licences.
	Conflict string `json:"conflict,omitempty"`
}

// Term is one thing that a licence forbids or demands, in a plain line, with the clause that says so.
type Term struct {
	Kind   Kind   `json:"kind"`
	Text   string `json:"text"`
	Clause string `json:"clause"`
}

// Kind tells terms apart.
type Kind string

// The kinds of terms.
const (
	Forbids Kind = "forbids"
	Demands Kind = "demands"
	Allows  Kind = "allows"
)

// String is the licence in a line.
func (l Licence) String() string {
	switch {
	case l.Known && l.Stated != "" && !strings.EqualFold(l.Stated, l.Name) && !strings.EqualFold(l.Stated, l.ID):
		return fmt.Sprintf("%s (%s)", l.Name, l.Source)
	case l.Known:
		return l.Name
	case l.Stated != "":
		return fmt.Sprintf("%s (%s)", l.Stated, l.Source)
	}
	return "not stated: no model card and no licence file"
}

// files are where licences lie, in the order in which they count.
var files = []string{
	"LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "LICENCE.md", "license.txt", "COPYING", "USE_POLICY.md", "NOTICE", "Notice",
}

const (
	maxText = 256 << 10 // a licence is a few pages
	maxCard = 4 << 20
)

// Read finds the licence of a model folder: the model card's front matter names it, a licence file shows its text. A known
// text weighs more than a card that says "other".
func Read(fsys fs.FS) Licence {
	card := readCard(fsys)
	text := readText(fsys)
	switch {
	case card.Known:
		if text.Known && text.ID != card.ID {
			card.Conflict = fmt.Sprintf("the model card says %s, but %s is the text of %s", card.Name, text.Source, text.Name)
		}
		return card
	case text.Known:
		text.Link = card.Link
		return text
	case card.Stated != "":
		return card
	}
	return text
}

// header is what a model card's front matter says of the licence.
type header struct {
	License     oneOrMany `yaml:"license"`
	LicenseName string    `yaml:"license_name"`
	LicenseLink string    `yaml:"license_link"`
}

// oneOrMany is a YAML text or a list of them.
type oneOrMany []string

// UnmarshalYAML accepts both.
func (o *oneOrMany) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.SequenceNode {
		return node.Decode((*[]string)(o))
	}
	var one string
	if err := node.Decode(&one); err != nil {
		return err
	}
	*o = oneOrMany{one}
	return nil
}

func readCard(fsys fs.FS) Licence {
	data, ok := readStart(fsys, "README.md", maxCard)
	front, found := FrontMatter(data)
	if !ok || !found {
		return Licence{}
	}
	var h header
	if yaml.Unmarshal(front, &h) != nil {
		return Licence{}
	}
	stated := slices.DeleteFunc([]string{strings.Join(h.License, ", "), h.LicenseName}, func(s string) bool { return s == "" })
	if len(stated) == 0 {
		return Licence{}
	}
	l := Licence{Stated: strings.Join(stated, ": "), Link: h.LicenseLink, Source: "README.md"}
	names := []string{h.LicenseName}
	if len(h.License) == 1 { // with several, none of them alone is the licence
		names = append(names, h.License[0])
	}
	for _, name := range names {
		if k := named(name); k != nil {
			return k.fill(l)
		}
	}
	return l
}

func readText(fsys fs.FS) Licence {
	var first Licence
	for _, name := range files {
		data, ok := readStart(fsys, name, maxText)
		if !ok {
			continue
		}
		line := firstLine(data)
		if line == "" {
			continue
		}
		l := Licence{Stated: line, Source: name}
		if k := recognise(string(data)); k != nil {
			return k.fill(l)
		}
		if first.Source == "" {
			first = l
		}
	}
	return first
}

// readStart reads a file, at most so many bytes of it.
func readStart(fsys fs.FS, name string, most int64) ([]byte, bool) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, false
	}
	data, err := io.ReadAll(io.LimitReader(f, most))
	return data, err == nil
}

func firstLine(text []byte) string {
	for line := range bytes.Lines(text) {
		if s := strings.Trim(strings.TrimSpace(string(line)), "#*= "); s != "" {
			return clip(strings.ToValidUTF8(s, "�"))
		}
	}
	return ""
}

func clip(s string) string {
	if r := []rune(s); len(r) > 100 {
		return string(r[:99]) + "…"
	}
	return s
}

// FrontMatter is the YAML between a model card's first two lines of three dashes.
func FrontMatter(card []byte) ([]byte, bool) {
	card = bytes.TrimPrefix(card, []byte("\xef\xbb\xbf"))
	card = bytes.ReplaceAll(card, []byte("\r\n"), []byte("\n"))
	rest, ok := bytes.CutPrefix(card, []byte("---\n"))
	if !ok {
		return nil, false
	}
	if bytes.HasPrefix(rest, []byte("---")) {
		return nil, true
	}
	front, _, ok := bytes.Cut(rest, []byte("\n---"))
	return front, ok
}
