package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// archiveSuffix is what an archive's name has beyond the folder's.
const archiveSuffix = ".tar.gz"

// compress writes the folder as an archive beside it.
func (p packing) compress() (err error) {
	if !p.archive {
		return nil
	}
	f, err := os.Create(p.out + archiveSuffix)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	err = filepath.WalkDir(p.out, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return p.add(w, path)
	})
	if err := errors.Join(err, w.Close(), z.Close(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write the archive: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// add adds one file, with its mode and without an owner.
func (p packing) add(w *tar.Writer, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	name, err := filepath.Rel(filepath.Dir(p.out), path)
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: int64(info.Mode().Perm()), Size: info.Size(), ModTime: info.ModTime()}); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
