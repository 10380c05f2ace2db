package cpu

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// The tightest limit on the way up counts, whichever version of control groups the system has.
func TestGroupMemory(t *testing.T) {
	for _, c := range []struct {
		name, list  string
		files       map[string]string
		limit, used int64
		ok          bool
	}{
		{name: "none", list: "0::/\n"},
		{name: "no limit", list: "0::/a\n", files: map[string]string{"a/memory.max": "max\n", "a/memory.current": "5\n"}},
		{
			name: "version 2, the parent is tighter", list: "0::/a/b\n",
			files: map[string]string{
				"a/b/memory.max": "900\n", "a/b/memory.current": "10\n",
				"a/memory.max": "500\n", "a/memory.current": "120\n", "a/memory.stat": "anon 90\ninactive_file 20\n",
			},
			limit: 500, used: 100, ok: true,
		},
		{
			name: "version 1", list: "7:cpu,cpuacct:/x\n4:memory:/a\n",
			files: map[string]string{
				"memory/a/memory.limit_in_bytes": "300\n", "memory/a/memory.usage_in_bytes": "50\n",
				"memory/a/memory.stat": "total_inactive_file 1\n",
			},
			limit: 300, used: 49, ok: true,
		},
		{
			name: "seen from inside of a container", list: "0::/far/away\n",
			files: map[string]string{"memory.max": "700\n", "memory.current": "7\n"},
			limit: 700, used: 7, ok: true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			list := filepath.Join(dir, "list")
			files := map[string]string{"../list": c.list}
			maps.Copy(files, c.files)
			for name, text := range files {
				path := filepath.Join(dir, "groups", name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			limit, used, ok := groupMemory(list, filepath.Join(dir, "groups"))
			if limit != c.limit || used != c.used || ok != c.ok {
				t.Errorf("limit %d, used %d, %v; want %d, %d, %v", limit, used, ok, c.limit, c.used, c.ok)
			}
		})
	}
	if available, total := systemMemory(); available <= 0 || total < available {
		t.Errorf("this machine has %d of %d bytes", available, total)
	}
}
