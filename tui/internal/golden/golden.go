// Package golden compares drawings with files under testdata. Run the tests
// with -update to write them anew, and read the difference before you commit.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
)

// teatest brings a flag of the same name; Go initialises packages by path, so
// that its package comes before this one.
func init() {
	if flag.Lookup("update") == nil {
		flag.Bool("update", false, "write golden files")
	}
}

func updating() bool { return flag.Lookup("update").Value.String() == "true" }

// Plain compares a drawing, colours stripped, with testdata/name.txt.
func Plain(t *testing.T, name, view string) {
	t.Helper()
	compare(t, filepath.Join("testdata", name+".txt"), ansi.Strip(view)+"\n")
}

// Styled compares a drawing with its escape sequences, written as \e, with
// testdata/name.ansi.
func Styled(t *testing.T, name, view string) {
	t.Helper()
	compare(t, filepath.Join("testdata", name+".ansi"), strings.ReplaceAll(view, "\x1b", `\e`)+"\n")
}

func compare(t *testing.T, path, got string) {
	t.Helper()
	if updating() {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read golden file: %v (run with -update to make it)", err)
	}
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(g), len(w)) {
		var a, b string
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			t.Errorf("%s differs from line %d on:\n got %q\nwant %q\n\nwhole drawing:\n%s", path, i+1, a, b, got)
			return
		}
	}
}

// Size checks that a drawing is exactly width × height cells, by grapheme
// clusters and by wcwidth: terminals use either.
func Size(t testing.TB, view string, width, height int) {
	t.Helper()
	if width <= 0 || height <= 0 {
		if view != "" {
			t.Errorf("drawing of %d×%d is not empty: %q", width, height, view)
		}
		return
	}
	lines := strings.Split(view, "\n")
	if len(lines) != height {
		t.Errorf("drawing has %d lines, want %d", len(lines), height)
	}
	for i, l := range lines {
		g, wc := ansi.StringWidth(l), ansi.StringWidthWc(l)
		if g != width || wc != width {
			t.Errorf("line %d is %d cells wide (%d by wcwidth), want %d: %q", i, g, wc, width, l)
			return
		}
	}
}
