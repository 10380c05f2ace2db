//go:build unix

package cli

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// exportArgs merges with many shards, so that there are many moments to be killed in.
func exportArgs(t *testing.T, out string) []string {
	return []string{
		"export", "merged", "--adapter", refDir(t, "llama-gqa", "adapters", "lora-random"), "--model", refDir(t, "llama-gqa"),
		"--out", out, "--max-shard-size", "8KB",
	}
}

// An export that is killed (SIGKILL) at a random moment leaves the folder whole or not there; the next one clears its
// leftovers away.
func TestKilledExport(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	random := rand.New(rand.NewPCG(3, 4)) // the moments still depend on the machine's load
	torn := 0
	for kill := range 10 {
		cmd := process(exportArgs(t, out)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if kill%2 == 0 { // in the middle of writing
			eventually(t, "the temporary folder, or the end", func() bool { return len(leftovers(t, dir)) > 0 || exists(out) })
		}
		time.Sleep(time.Duration(random.Int64N(int64(60 * time.Millisecond))))
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait() // of the kill, or done already
		if stderr.Len() > 0 {
			t.Fatalf("the process did not die of the kill: %s", &stderr)
		}
		torn += len(leftovers(t, dir))
		if exists(out) {
			if !exists(out, "README.md") || !exists(out, "config.json") { // written last: the folder is whole
				t.Fatalf("kill %d: a folder that is not whole", kill)
			}
			if err := os.RemoveAll(out); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d of 10 kills in the middle of an export", torn)
	exported(t, ok(t, append(exportArgs(t, out), "--json")...), out)
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// A disk that fills up: exit 1, one line, nothing half-written.
func TestExportToAFullDisk(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	for _, args := range [][]string{
		append(exportArgs(t, out), "--max-shard-size", "5GB"),
		{"export", "peft", "--adapter", refDir(t, "llama-gqa", "adapters", "lora-random"), "--model", refDir(t, "llama-gqa"), "--out", out},
	} {
		cmd := process(args...)
		cmd.Env = append(cmd.Env, limitVariable+"=32768")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		_ = cmd.Run() // the code says the same
		refusal(t, output{cmd.ProcessState.ExitCode(), "", stderr.String()}, exitFailed, "export", "file too large")
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
	}
}

// An interrupt calls an export off: exit 1, nothing left.
func TestInterruptedExport(t *testing.T) {
	dir := t.TempDir()
	cmd := process(exportArgs(t, filepath.Join(dir, "out"))...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the temporary folder", func() bool { return len(leftovers(t, dir)) > 0 || exists(dir, "out") })
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Wait()
	if cmd.ProcessState.ExitCode() == exitDone { // it was faster than the signal
		return
	}
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("exit %d: %s", code, &stderr)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// Bases and adapters that cannot be read: one line, nothing left.
func TestExportUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("skipped: root may read everything")
	}
	model, dir := copyModel(t, "llama-gqa"), t.TempDir()
	if err := os.Chmod(filepath.Join(model, "model.safetensors"), 0); err != nil {
		t.Fatal(err)
	}
	adapter := refDir(t, "llama-gqa", "adapters", "lora-random")
	refusal(t, lathe(t, "export", "peft", "--adapter", adapter, "--model", model, "--out", filepath.Join(dir, "out")), exitFailed, "model.safetensors", "permission denied")
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}
