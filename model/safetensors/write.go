package safetensors

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Source is a tensor to be written. Its bytes are asked for only when their turn comes, so that a model larger
// than memory can be written one tensor at a time.
type Source struct {
	Name  string
	DType DType
	Shape []int64
	// Data gives the tensor's bytes, little-endian and row-major. The slice is used until the next call only.
	Data func() ([]byte, error)
}

// PyTorch is the metadata that transformers wants to see in a file of weights.
func PyTorch() map[string]string { return map[string]string{"format": "pt"} }

// Write writes tensors into one file. It is atomic: the bytes go to a temporary name in the same folder, are synced,
// and are renamed over path. The same tensors and metadata give the same bytes, in the order of the reference
// implementation (wider types first, then by name).
func Write(path string, tensors []Tensor, metadata map[string]string) error {
	sources := make([]Source, len(tensors))
	for i, t := range tensors {
		sources[i] = Source{t.Name, t.DType, t.Shape, func() ([]byte, error) { return t.Data, nil }}
	}
	return WriteSources(path, sources, metadata)
}

// WriteSources is Write for tensors whose bytes are made on the way.
func WriteSources(path string, sources []Source, metadata map[string]string) error {
	tmp, err := writeTemp(path, sources, metadata)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := commit(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// writeTemp writes and syncs the file under a temporary name beside path and gives that name. Nothing is left
// behind on an error.
func writeTemp(path string, sources []Source, metadata map[string]string) (_ string, err error) {
	sources = slices.Clone(sources)
	slices.SortFunc(sources, func(a, b Source) int {
		return cmp.Or(cmp.Compare(b.DType, a.DType), cmp.Compare(a.Name, b.Name))
	})
	head, err := encodeHeader(sources, metadata)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreClosed(f.Close()), os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err = w.Write(head); err != nil {
		return "", err
	}
	for _, s := range sources {
		if err = writeSource(w, s); err != nil {
			return "", fmt.Errorf("tensor %q: %w", s.Name, err)
		}
	}
	if err = w.Flush(); err != nil {
		return "", err
	}
	if err = f.Chmod(0o644); err != nil {
		return "", err
	}
	if err = f.Sync(); err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

func writeSource(w io.Writer, s Source) error {
	data, err := s.Data()
	if err != nil {
		return err
	}
	want, err := byteSize(s.DType, s.Shape)
	if err != nil {
		return err
	}
	if int64(len(data)) != want {
		return fmt.Errorf("%s%v needs %d bytes, got %d", s.DType, s.Shape, want, len(data))
	}
	_, err = w.Write(data)
	return err
}

// encodeHeader gives the length, the JSON and the padding that brings the data to a multiple of eight.
func encodeHeader(sources []Source, metadata map[string]string) ([]byte, error) {
	b := make([]byte, 8, 256+128*len(sources))
	b = append(b, '{')
	if len(metadata) > 0 {
		b = append(b, `"__metadata__":{`...)
		for i, k := range sortedKeys(metadata) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendQuote(b, k)
			b = append(b, ':')
			b = appendQuote(b, metadata[k])
		}
		b = append(b, '}')
	}
	seen := make(map[string]bool, len(sources))
	var at int64
	for _, s := range sources {
		if seen[s.Name] || s.Name == "__metadata__" {
			return nil, fmt.Errorf("tensor %q is given twice", s.Name)
		}
		seen[s.Name] = true
		size, err := sourceSize(s)
		if err != nil {
			return nil, err
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = appendEntry(b, s, at, at+size)
		at += size
	}
	b = append(b, '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)-8))
	return b, nil
}

func sourceSize(s Source) (int64, error) {
	if s.DType.Bits() == 0 {
		return 0, fmt.Errorf("tensor %q: %s is no element type", s.Name, s.DType)
	}
	for _, n := range s.Shape {
		if n < 0 {
			return 0, fmt.Errorf("tensor %q: shape %v has a negative size", s.Name, s.Shape)
		}
	}
	size, err := byteSize(s.DType, s.Shape)
	if err != nil {
		return 0, fmt.Errorf("tensor %q: %w", s.Name, err)
	}
	return size, nil
}

func appendEntry(b []byte, s Source, begin, end int64) []byte {
	b = appendQuote(b, s.Name)
	b = append(b, `:{"dtype":"`...)
	b = append(b, s.DType.String()...)
	b = append(b, `","shape":[`...)
	for i, n := range s.Shape {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	b = append(b, `],"data_offsets":[`...)
	b = strconv.AppendInt(b, begin, 10)
	b = append(b, ',')
	b = strconv.AppendInt(b, end, 10)
	return append(b, `]}`...)
}

// appendQuote quotes a string; bytes that are not UTF-8 become the replacement character.
func appendQuote(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // the only error is invalid UTF-8, which it replaces
	return b
}

// commit renames a finished temporary file into place and syncs the folder, so that the name survives a power cut.
func commit(tmp, path string) error {
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
