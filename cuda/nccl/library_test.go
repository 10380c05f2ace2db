package nccl

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	there := filepath.Join(t.TempDir(), soname)
	if err := os.WriteFile(there, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		paths  []string
		opens  string
		want   string
		absent bool
	}{
		{"the loader's", []string{soname, there}, soname, "", false},
		{"a later one", []string{soname, "/nowhere/x", there}, there, "", false},
		{"none", []string{soname, "/nowhere/x"}, "", "pip install nvidia-nccl-cu12", true},
		{"broken", []string{soname, there}, "", "reinstall it", false},
		{"named and absent", []string{"/nowhere/x"}, "", "no such library: correct or unset it", true},
		{"named and broken", []string{there}, "", "LATHE_NCCL=" + there, false},
	} {
		err := find(test.paths, func(path string) error {
			if path == test.opens {
				return nil
			}
			return errors.New("cannot open\nit")
		})
		switch {
		case test.want == "":
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		case err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") || errors.Is(err, ErrMissing) != test.absent:
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestCandidates(t *testing.T) {
	root := t.TempDir()
	pip := filepath.Join(root, "lib", "python3.12", "site-packages", "nvidia", "nccl", "lib", soname)
	if err := os.MkdirAll(filepath.Dir(pip), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pip, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	all := candidates(func(name string) string { return map[string]string{"VIRTUAL_ENV": root}[name] })
	if all[0] != soname || !strings.Contains(strings.Join(all, "\n"), pip) {
		t.Errorf("%q", all)
	}
	if all := candidates(func(string) string { return "/mine.so" }); len(all) != 1 || all[0] != "/mine.so" {
		t.Errorf("named: %q", all)
	}
}

func TestVersionText(t *testing.T) {
	for v, want := range map[int]string{2804: "2.8.4", 21805: "2.18.5", 22703: "2.27.3"} {
		if got := versionText(v); got != want {
			t.Errorf("%d is %s, want %s", v, got, want)
		}
	}
}
