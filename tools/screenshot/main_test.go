package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const screen = "\x1b[1;38;2;255;0;0mred\x1b[m & <plain>  \x1b[48;5;4mblue\x1b[m\n╭─━╸│⣿▄█░╯ 日本 \x1b[7mreversed\x1b[m \x1b[2;4mfaint\x1b[m\n"

// wellFormed reads the SVG as XML to its end.
func wellFormed(t *testing.T, svg string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("the SVG is not well-formed: %v\n%s", err, svg)
		}
	}
}

func TestRender(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"-title", "lathe <demo>"}, strings.NewReader(screen), &out); err != nil {
		t.Fatal(err)
	}
	svg := out.String()
	wellFormed(t, svg)
	for what, want := range map[string]string{
		"bold red text":      `fill="#ff0000" font-weight="bold">red</text>`,
		"escaped text":       `&amp; &lt;plain&gt;`,
		"a background":       `width="36" height="19" fill="#000080"`,
		"a wide character":   `textLength="18"`,
		"reversed colours":   `fill="#14171c">reversed</text>`,
		"faint, underlined":  `opacity="0.6" text-decoration="underline">faint</text>`,
		"dots of braille":    `<circle`,
		"a rounded corner":   `fill="none" stroke-width="1"`,
		"the window's title": `lathe &lt;demo&gt;`,
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("the SVG lacks %s: %s\n%s", what, want, svg)
		}
	}
	if n := strings.Count(svg, "<circle"); n != 8+3 {
		t.Errorf("%d circles, want 8 dots and 3 of the title bar", n)
	}
}

func TestWritesFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shot.svg")
	if err := run([]string{"-o", path, "-theme", "light"}, strings.NewReader(screen), nil); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, string(b))
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("folder holds %v, want the picture alone", left)
	}
}

func TestErrors(t *testing.T) {
	for _, args := range [][]string{{"-theme", "neon"}, {"-o", filepath.Join(t.TempDir(), "no", "shot.svg")}} {
		if err := run(args, strings.NewReader("x"), io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
