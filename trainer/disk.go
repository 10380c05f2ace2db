package trainer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// outputFolder is a run's claim on its output_dir.
type outputFolder struct {
	dir     string
	lock    *os.File
	notices []string // what was cleaned away
}

// claimOutput makes output_dir, finds out whether it can be written and has room for a checkpoint, keeps other runs out,
// and clears away what a killed run left.
func claimOutput(dir string, checkpointSize int64) (o *outputFolder, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("output_dir: %w: give a folder that can be written", err)
	}
	if err := probeWrite(dir); err != nil {
		return nil, fmt.Errorf("output_dir: %s cannot be written: %w: give another folder", dir, err)
	}
	o = &outputFolder{dir: dir}
	if o.lock, err = lockDir(dir); err != nil {
		return nil, fmt.Errorf("output_dir: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}()
	if o.notices, err = cleanLeftovers(dir); err != nil {
		return nil, fmt.Errorf("output_dir: %w", err)
	}
	if free, ok := diskFree(dir); ok && free < checkpointSize+diskMargin {
		return nil, fmt.Errorf("output_dir: %s has %s free; a checkpoint takes %s, and %s more are left beside it: free some space or give another folder",
			dir, formatBytes(free), formatBytes(checkpointSize), formatBytes(diskMargin))
	}
	return o, nil
}

// diskMargin is left beside a checkpoint for the state's history and the folders' own blocks.
const diskMargin = 1 << 20

// holds reports whether a checkpoint lies in the folder, or is its final state.
func (o *outputFolder) holds(checkpoint string) bool {
	return sameFolder(checkpoint, o.dir) || sameFolder(filepath.Dir(filepath.Clean(checkpoint)), o.dir)
}

func sameFolder(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

func (o *outputFolder) close() error {
	if o == nil || o.lock == nil {
		return nil
	}
	return o.lock.Close()
}

func probeWrite(dir string) error {
	f, err := os.CreateTemp(dir, tempPrefix+"probe-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// cleanLeftovers removes what a killed process left half-written. A checkpoint that was about to be replaced is put back.
func cleanLeftovers(dir string) (notices []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if name, ok := strings.CutPrefix(e.Name(), oldPrefix); ok && leftoverName(name) {
			if _, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, os.ErrNotExist) {
				if err := os.Rename(path, filepath.Join(dir, name)); err != nil {
					return notices, err
				}
				notices = append(notices, fmt.Sprintf("put back %s, which a killed save had moved aside", name))
				continue
			}
			if err := os.RemoveAll(path); err != nil {
				return notices, err
			}
		}
		if name, ok := strings.CutPrefix(e.Name(), tempPrefix); ok {
			if err := os.RemoveAll(path); err != nil {
				return notices, err
			}
			if leftoverName(name) {
				notices = append(notices, fmt.Sprintf("removed %s, the leftover of a save that was killed", e.Name()))
			}
		}
	}
	return notices, nil
}

func leftoverName(name string) bool {
	_, ok := checkpointStep(name)
	return ok || name == stateDir
}

// moveAside puts the checkpoints and the final state of an earlier run into output_dir/earlier-N: nothing is overwritten,
// and a later resume cannot mistake them for this run's.
func moveAside(dir string) (notice string, err error) {
	list, err := ListCheckpoints(dir)
	if err != nil || len(list) == 0 {
		return "", err
	}
	aside := ""
	for n := 1; aside == ""; n++ {
		path := filepath.Join(dir, "earlier-"+strconv.Itoa(n))
		switch err := os.Mkdir(path, 0o777); {
		case err == nil:
			aside = path
		case !errors.Is(err, os.ErrExist):
			return "", err
		}
	}
	for _, c := range list {
		names := []string{filepath.Base(c.Path)}
		if c.Final {
			names = finalNames(dir)
		}
		for _, name := range names {
			if err := ignoreMissing(os.Rename(filepath.Join(dir, name), filepath.Join(aside, name))); err != nil {
				return "", err
			}
		}
	}
	return fmt.Sprintf("moved %d checkpoints of an earlier run to %s: --resume would have gone on from them", len(list), aside), nil
}

// finalNames are the files of the final state in output_dir itself, the state first: without it they are no checkpoint.
func finalNames(dir string) []string {
	names := []string{stateDir, "adapter_config.json", "adapter_model.safetensors"}
	if m, err := readManifest(dir); err == nil {
		for _, f := range m.Files {
			if !strings.Contains(f.Name, "/") {
				names = append(names, f.Name)
			}
		}
	}
	return names
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// formatBytes writes a size as people read it, in binary units.
func formatBytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, u := float64(n), 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[u])
}
