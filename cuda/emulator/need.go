package emulator

import "errors"

// Test is the part of a test that Need talks to; this package does not import testing, for the tools that carry its library.
type Test interface {
	Helper()
	Skip(...any)
	Fatal(...any)
}

// Need is Build for a test: it skips, with the reason, where there is no compiler, and fails on anything else.
func Need(t Test, more ...string) (library string) {
	t.Helper()
	library, err := Build(more...)
	if errors.Is(err, ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return library
}
