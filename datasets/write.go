package datasets

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrSameFile is returned where an output would overwrite its input.
var ErrSameFile = errors.New("the output is the input")

// rowWriter writes rows of JSONL.
type rowWriter struct {
	*bufio.Writer
}

// row writes one row and ends its line.
func (w *rowWriter) row(r Row) error {
	raw, err := onOneLine(r)
	if err != nil {
		return err
	}
	if _, err := w.Write(raw); err != nil {
		return err
	}
	return w.WriteByte('\n')
}

// writeFile writes path whole or not at all: under a temporary name beside it,
// fsync, rename. A path that is the input is refused.
func writeFile(path, input string, write func(*rowWriter) error) (err error) {
	if err := refuseInput(path, input); err != nil {
		return err
	}
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("make folder for %s: %w", path, err)
	}
	file, err := os.CreateTemp(folder, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			file.Close()
			_ = os.Remove(file.Name())
		}
	}()
	w := &rowWriter{bufio.NewWriterSize(file, 1<<20)}
	if err := write(w); err != nil {
		return err
	}
	if err := errors.Join(w.Flush(), file.Chmod(0o644), file.Sync()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// refuseInput refuses to write where the input lies.
func refuseInput(path, input string) error {
	same, err := isSameFile(path, input)
	if err == nil && same {
		err = fmt.Errorf("write %s: %w: choose another name", path, ErrSameFile)
	}
	return err
}

// isSameFile sees through links and spellings.
func isSameFile(path, input string) (bool, error) {
	a, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	b, err := os.Stat(input)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", input, err)
	}
	return os.SameFile(a, b), nil
}
