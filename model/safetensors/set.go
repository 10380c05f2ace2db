package safetensors

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"
)

// Tensor is a named array in row-major order, its elements little-endian.
//
// Data of a tensor that came from a [Set] is a slice into the mapped file: it must not be written to, may start at
// any address (the format does not align), and is valid until the set is closed.
type Tensor struct {
	Name  string
	DType DType
	Shape []int64
	Data  []byte
}

// NumElements is the product of the shape, 1 for a scalar.
func (t Tensor) NumElements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Set is the tensors of one file or of a folder of shards.
type Set struct {
	tensors  map[string]Tensor
	names    []string
	metadata map[string]string
	files    []mapped
}

type mapped struct {
	path string
	data []byte
	file *os.File // open for ReadAt as long as the set is
}

// File names that transformers and PEFT give to weights.
const (
	SingleFile  = "model.safetensors"
	IndexFile   = "model.safetensors.index.json"
	AdapterFile = "adapter_model.safetensors"
)

// Open maps the weights at path: a .safetensors file, an index.json of shards, or a folder. In a folder it takes,
// in this order, model.safetensors, the shards of model.safetensors.index.json, adapter_model.safetensors, or the
// only *.safetensors file there. Only headers are read; an error names the file and the tensor that is wrong.
func Open(path string) (*Set, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open weights: %w", err)
	}
	if info.IsDir() {
		if path, err = findInFolder(path); err != nil {
			return nil, err
		}
	}
	s := &Set{tensors: map[string]Tensor{}, metadata: map[string]string{}}
	if strings.HasSuffix(path, ".json") {
		err = s.openIndex(path)
	} else {
		err = s.openFile(path, nil)
	}
	if err != nil {
		_ = s.Close() // the first error is the one to report
		return nil, err
	}
	s.sortNames()
	return s, nil
}

// Parse reads a safetensors file that is in memory, such as one embedded in the program. The tensors are slices of data,
// which must not change while the set is in use.
func Parse(data []byte) (*Set, error) {
	h, err := parseHeader(data)
	if err != nil {
		return nil, fmt.Errorf("read weights: %w", err)
	}
	s := &Set{tensors: map[string]Tensor{}, metadata: h.metadata}
	for _, t := range h.tensors {
		s.tensors[t.Name] = t
	}
	s.sortNames()
	return s, nil
}

func (s *Set) sortNames() {
	s.names = make([]string, 0, len(s.tensors))
	for name := range s.tensors {
		s.names = append(s.names, name)
	}
	slices.Sort(s.names)
}

// findInFolder chooses the weights of a model folder as transformers does.
func findInFolder(dir string) (string, error) {
	for _, name := range []string{SingleFile, IndexFile, AdapterFile} {
		p := filepath.Join(dir, name)
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("open weights: %w", err)
	}
	var found []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".safetensors") && !strings.HasPrefix(e.Name(), ".") {
			found = append(found, e.Name())
		}
	}
	switch len(found) {
	case 1:
		return filepath.Join(dir, found[0]), nil
	case 0:
		return "", fmt.Errorf("open weights: %s holds no *.safetensors file (expected %s, or %s with its shards)", dir, SingleFile, IndexFile)
	}
	return "", fmt.Errorf("open weights: %s holds %d *.safetensors files but no %s to say which belong together", dir, len(found), IndexFile)
}

// openFile maps one file and adds its tensors; with an index, only those that the index places in another shard
// are left out.
func (s *Set) openFile(path string, index map[string]string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open weights: %w", err)
	}
	data, err := mapFile(f)
	if err != nil {
		return errors.Join(fmt.Errorf("open weights: %w", err), f.Close())
	}
	s.files = append(s.files, mapped{path, data, f})
	h, err := parseHeader(data)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	for k, v := range h.metadata {
		s.metadata[k] = v
	}
	base := filepath.Base(path)
	for _, t := range h.tensors {
		if want, ok := index[t.Name]; ok && want != base {
			continue
		}
		if _, dup := s.tensors[t.Name]; dup {
			return fmt.Errorf("read %s: tensor %q is in another shard too and the index does not say which counts", path, t.Name)
		}
		s.tensors[t.Name] = t
	}
	return nil
}

// Rename gives tensors other names; one whose new name is taken keeps its own.
func (s *Set) Rename(to func(name string) string) {
	for _, name := range s.names {
		renamed := to(name)
		if _, taken := s.tensors[renamed]; taken {
			continue
		}
		t := s.tensors[name]
		t.Name = renamed
		delete(s.tensors, name)
		s.tensors[renamed] = t
	}
	s.sortNames()
}

// Names lists the tensors in alphabetical order. The slice is shared: do not change it.
func (s *Set) Names() []string { return s.names }

// Tensor gives one tensor by name.
func (s *Set) Tensor(name string) (Tensor, bool) {
	t, ok := s.tensors[name]
	return t, ok
}

// Metadata is the __metadata__ of the file, or of all shards together.
func (s *Set) Metadata() map[string]string { return s.metadata }

// Files lists the paths that are mapped.
func (s *Set) Files() []string {
	paths := make([]string, len(s.files))
	for i, f := range s.files {
		paths[i] = f.path
	}
	return paths
}

// Stat describes the files that are open, whatever has happened to their names since; none for a set in memory.
func (s *Set) Stat() (infos []os.FileInfo, err error) {
	for _, f := range s.files {
		info, err := f.file.Stat()
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// Bytes is the size of all tensors together.
func (s *Set) Bytes() int64 {
	var n int64
	for _, t := range s.tensors {
		n += int64(len(t.Data))
	}
	return n
}

// Close unmaps the files; slices taken from the set must not be used afterwards. Closing twice is harmless.
func (s *Set) Close() error {
	var errs []error
	for _, f := range s.files {
		if err := unmapFile(f.data); err != nil {
			errs = append(errs, fmt.Errorf("unmap %s: %w", f.path, err))
		}
		if err := f.file.Close(); err != nil {
			errs = append(errs, err)
		}
	}
	s.files, s.tensors, s.names = nil, nil, nil
	return errors.Join(errs...)
}

// place is the file in which a tensor of the set lies, and where in it; nil for one that is in memory only.
func (s *Set) place(t Tensor) (*mapped, int64) {
	if len(t.Data) == 0 {
		return nil, 0
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(t.Data)))
	for i := range s.files {
		f := &s.files[i]
		base := uintptr(unsafe.Pointer(unsafe.SliceData(f.data)))
		if start >= base && start < base+uintptr(len(f.data)) {
			return f, int64(start - base)
		}
	}
	return nil, 0
}

// Position orders tensors as their bytes lie in the files: by file, then by offset. Reading in that order suits disks.
func (s *Set) Position(t Tensor) (file int, offset int64) {
	f, offset := s.place(t)
	for i := range s.files {
		if f == &s.files[i] {
			return i, offset
		}
	}
	return 0, 0
}

// ReadAt fills p with the bytes of a tensor of the set from off on. It reads the file itself rather than the mapping: what has
// been read is not counted as this process's memory, and a file that was cut or lost meanwhile is an error, where touching the
// mapping would end the program.
func (s *Set) ReadAt(t Tensor, p []byte, off int64) error {
	if off < 0 || off+int64(len(p)) > int64(len(t.Data)) {
		return fmt.Errorf("read tensor %q: bytes %d to %d of %d", t.Name, off, off+int64(len(p)), len(t.Data))
	}
	f, at := s.place(t)
	if f == nil {
		copy(p, t.Data[off:])
		return nil
	}
	switch _, err := f.file.ReadAt(p, at+off); {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("read %s: the file was cut short while it was being read", f.path)
	case err != nil:
		return fmt.Errorf("read weights: %w", err)
	}
	return nil
}
