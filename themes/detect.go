package themes

import (
	"io"
	"strings"

	"github.com/charmbracelet/colorprofile"
)

// Detect finds the colour profile for an output and its environment.
// NO_COLOR at any value that is not empty (no-color.org; also "0" and "false")
// turns colour off, which colorprofile alone would read as a bool.
func Detect(out io.Writer, env []string) colorprofile.Profile {
	if NoColor(env) {
		return colorprofile.ASCII
	}
	return colorprofile.Detect(out, env)
}

// DetectEnv is Detect for a remote terminal, of which only the environment is
// known.
func DetectEnv(env []string) colorprofile.Profile {
	if NoColor(env) {
		return colorprofile.ASCII
	}
	return colorprofile.Env(env)
}

// NoColor says whether env ("KEY=value" entries, the last one counts) asks
// for no colour.
func NoColor(env []string) bool {
	no := false
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "NO_COLOR="); ok {
			no = v != ""
		}
	}
	return no
}
