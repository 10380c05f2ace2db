package export

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// folder is an output folder that does not exist until it is whole: it is written beside its place and renamed.
type folder struct {
	out, temp string
	lock      *os.File // says that the export which writes here is alive
}

// tempPattern names the folders that are being written for out.
func tempPattern(out string) string { return ".export-" + filepath.Base(out) + "-*" }

// begin looks at where an export is to go, clears away what a killed one left there, and makes the temporary folder.
func begin(out string, sources ...string) (_ *folder, err error) {
	if out == "" {
		return nil, refuse("where to? name a new folder with --out DIR")
	}
	if out, err = filepath.Abs(out); err != nil {
		return nil, err
	}
	if err := checkPlace(out, sources); err != nil {
		return nil, err
	}
	parent := filepath.Dir(out)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return nil, err
	}
	if err := clearLeftovers(out); err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp(parent, tempPattern(out))
	if err != nil {
		return nil, err
	}
	f := &folder{out: out, temp: temp}
	if f.lock, err = lockDir(temp); err == nil {
		err = os.Chmod(temp, 0o755) // MkdirTemp's is private
	}
	if err != nil {
		return nil, errors.Join(err, f.abandon())
	}
	return f, nil
}

// CheckPlace refuses what an export would refuse of a place, before any work is done.
func CheckPlace(out string, sources ...string) error {
	abs, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	return checkPlace(abs, sources)
}

// checkPlace refuses a folder that holds something, and one in which the export would overwrite or shadow what it reads.
func checkPlace(out string, sources []string) error {
	entries, err := os.ReadDir(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		if info, e := os.Stat(out); e == nil && !info.IsDir() {
			return refuse("--out %s is a file: name a new folder", out)
		}
		return err
	case len(entries) > 0:
		return refuse("--out %s is not empty: name a new folder, nothing is overwritten", out)
	}
	place := resolve(out)
	for _, source := range sources {
		if source == "" {
			continue
		}
		abs, err := filepath.Abs(source)
		if err != nil {
			return err
		}
		if dir := resolve(abs); place == dir || strings.HasPrefix(place, dir+string(filepath.Separator)) {
			return refuse("--out %s lies in %s, from which the export reads: name a folder outside of it", out, source)
		}
	}
	return nil
}

// resolve follows symbolic links as far as a path exists.
func resolve(path string) string {
	for rest := ""; ; {
		if target, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Join(target, rest)
		}
		parent := filepath.Dir(path)
		if parent == path {
			return filepath.Join(path, rest)
		}
		rest, path = filepath.Join(filepath.Base(path), rest), parent
	}
}

// clearLeftovers removes what killed exports to the same folder left. One that is alive holds its lock.
func clearLeftovers(out string) error {
	entries, err := os.ReadDir(filepath.Dir(out))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ok, _ := filepath.Match(tempPattern(out), e.Name()); !ok || !e.IsDir() {
			continue
		}
		path := filepath.Join(filepath.Dir(out), e.Name())
		lock, err := lockDir(path)
		if errors.Is(err, errLocked) {
			return refuse("another export is writing to %s: wait for it, or name another folder", out)
		}
		if err != nil {
			return err
		}
		if err := errors.Join(os.RemoveAll(path), closeLock(lock)); err != nil {
			return fmt.Errorf("remove the leftover of a killed export: %w", err)
		}
	}
	return nil
}

var errLocked = errors.New("another process holds the folder")

// commit syncs everything and gives the folder its name.
func (f *folder) commit() error {
	err := filepath.WalkDir(f.temp, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncPath(path)
	})
	if err != nil {
		return err
	}
	if err := os.Remove(f.out); err != nil && !errors.Is(err, fs.ErrNotExist) { // empty: checkPlace saw to that
		return err
	}
	if err := os.Rename(f.temp, f.out); err != nil {
		return err
	}
	f.temp = ""
	return syncPath(filepath.Dir(f.out))
}

// abandon removes what was not committed.
func (f *folder) abandon() error {
	err := closeLock(f.lock)
	if f.temp != "" {
		err = errors.Join(err, os.RemoveAll(f.temp))
	}
	return err
}

func closeLock(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

// syncPath makes a file's contents or a folder's names survive a power cut.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// carried are the files of a model folder that an export takes along byte for byte: tokenizer, template, generation
// settings, and the licence, which most licences want to travel with the weights.
var carried = []string{
	"generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"tokenizer.model", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json",
	"LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "NOTICE", "NOTICE.txt", "Notice", "Notice.txt", "USE_POLICY.md",
}

// templatesDir holds further named templates, as transformers 5 stores them.
const templatesDir = "additional_chat_templates"

func carryOver(from fs.FS, dir string) error {
	names := carried
	if extra, err := fs.Glob(from, templatesDir+"/*.jinja"); err == nil {
		names = append(names[:len(names):len(names)], extra...)
	}
	for _, name := range names {
		info, err := fs.Stat(from, name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
			continue
		}
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return fmt.Errorf("carry over %s: %w", name, err)
		}
		if err := writeNew(filepath.Join(dir, filepath.FromSlash(name)), data); err != nil {
			return fmt.Errorf("carry over %s: %w", name, err)
		}
	}
	return nil
}

func writeNew(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o666)
}
