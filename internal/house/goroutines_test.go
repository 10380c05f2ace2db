package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unraced are the packages that start goroutines and are not under CI's race detector, and why.
var unraced = map[string]string{
	"cuda":          "LoadModules alone does, which tools/gpucheck calls on a real GPU",
	"cuda/emulator": "it runs compilers side by side, for tests",
}

// Whatever starts a goroutine is in the race step of .ci/run.
func TestGoroutinesAreUnderTheRaceDetector(t *testing.T) {
	const root = "../.."
	script, err := os.ReadFile(filepath.Join(root, ".ci", "run"))
	if err != nil {
		t.Fatal(err)
	}
	_, step, _ := strings.Cut(string(script), "step race")
	step, _, _ = strings.Cut(step, "step tests")
	raced := strings.FieldsFunc(step, func(r rune) bool { return strings.ContainsRune(" \n\"", r) })
	found := 0
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil || !startsGoroutine(file) {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		dir = filepath.ToSlash(dir)
		if strings.HasPrefix(dir, "tools/") || strings.Contains(dir, "internal/workbench") { // programs without tests of that
			return err
		}
		found++
		if unraced[dir] == "" && !slices.Contains(raced, "./"+dir) {
			t.Errorf("%s starts a goroutine, and .ci/run does not test %s with -race", path, dir)
		}
		return err
	})
	if err != nil || found < 10 {
		t.Errorf("%d files start goroutines (%v)", found, err)
	}
}

// startsGoroutine finds a go statement, or a call of WaitGroup.Go or AfterFunc.
func startsGoroutine(file *ast.File) (found bool) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = true
		case *ast.SelectorExpr:
			found = found || n.Sel.Name == "Go" || n.Sel.Name == "AfterFunc"
		}
		return !found
	})
	return found
}
