package house

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport is the table of docs/ARCHITECTURE.md: what a package (or a tree, with /...) may import of ours. A package
// that is missing here fails the test, so a new one has to find its place first.
var mayImport = []struct {
	tree    string
	imports []string
}{
	{"themes", nil},
	{"compute", nil},
	{"compute/check", []string{"compute"}},
	{"compute/cpu/...", []string{"compute", "compute/check"}},
	{"compute/computetest", []string{"compute"}},
	{"compute/distributed", []string{"compute"}},
	{"compute/profile", []string{"compute"}},
	{"compute/check", []string{"compute"}},
	{"compute/cpu/...", []string{"compute", "compute/check"}},
	{"compute/computetest", []string{"compute"}},
	{"cuda/driver", nil},
	{"cuda/...", []string{"compute", "compute/check", "compute/distributed", "cuda/..."}},
	{"model/safetensors", nil},
	{"model/tokenizer", nil},
	{"model/template", nil},
	{"model/tape", []string{"compute"}},
	{"model", []string{"compute", "model/..."}},
	{"datasets/...", nil},
	{"trainer/...", []string{"model/...", "datasets", "compute"}},
	{"evalsuite/...", []string{"datasets"}},
	{"export/...", []string{"model/...", "trainer", "datasets", "compute", "export/..."}},
	{"session/...", []string{"export", "trainer", "evalsuite", "datasets", "model/...", "compute", "session/..."}},
	{"tui/paint", []string{"themes"}},
	{"tui/widget/...", []string{"themes", "tui/widget/..."}},
	{"tui/dialog/...", []string{"themes", "tui/widget/..."}},
	{"tui/internal/workbench", []string{"tui", "tui/internal/..."}},
	{"tui/internal/panetest", []string{"tui/pane", "tui/dialog", "tui/internal/...", "session", "themes", "trainer", "datasets"}},
	{"tui/internal/...", []string{"session", "trainer", "datasets", "evalsuite"}},
	{"tui/pane/...", []string{"tui/widget/...", "tui/dialog", "session", "themes", "trainer", "datasets", "evalsuite", "tui/pane"}},
	{"tui", []string{"tui/...", "session", "themes", "trainer", "datasets", "evalsuite"}},
	{"internal/...", []string{"..."}},
	{"tools/...", []string{"..."}},
	{"", []string{"internal/cli"}},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestImportsGoOneWay(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, "lathe"), "/")
		row := slices.IndexFunc(mayImport, func(r struct {
			tree    string
			imports []string
		},
		) bool {
			return within(path, r.tree)
		})
		if row < 0 {
			t.Errorf("%s has no row in the import table of docs/ARCHITECTURE.md", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			ours, found := strings.CutPrefix(imp, "lathe/")
			if !found {
				continue
			}
			if !slices.ContainsFunc(mayImport[row].imports, func(a string) bool { return within(ours, a) }) {
				t.Errorf("%s imports %s, which the table of docs/ARCHITECTURE.md does not allow", p.ImportPath, imp)
			}
		}
		if slices.Contains(p.Imports, "lathe/compute/cpu") && !within(path, "internal/...") && !within(path, "tools/...") {
			t.Errorf("%s imports a device: only internal/cli chooses one", p.ImportPath)
		}
		for _, tea := range []string{"charm.land/bubbletea/v2", "charm.land/bubbles/v2", "charm.land/lipgloss/v2"} {
			inUI := within(path, "tui/...") || within(path, "internal/...") || within(path, "tools/...") || path == "themes"
			if !inUI && slices.ContainsFunc(p.Imports, func(i string) bool { return i == tea || strings.HasPrefix(i, tea+"/") }) {
				t.Errorf("%s imports %s: nothing below tui knows the terminal", p.ImportPath, tea)
			}
		}
	}
}

// within tells whether a package path lies in a tree: "a" is a alone, "a/..." is a and all below, "..." is everything.
func within(path, tree string) bool {
	root, isTree := strings.CutSuffix(tree, "/...")
	switch {
	case tree == "...":
		return true
	case isTree:
		return path == root || strings.HasPrefix(path, root+"/")
	default:
		return path == tree
	}
}

// packages lists this module's packages with their imports, tests left out: a test may use what it likes.
func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		all = append(all, p)
	}
	if len(all) < 3 {
		t.Fatalf("go list found %d packages; the table cannot have been checked", len(all))
	}
	return all
}
