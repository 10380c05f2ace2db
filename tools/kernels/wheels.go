package main

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// wheel is a package of PyPI of which a few files are used.
type wheel struct {
	name, version, sha256 string
	files                 []string
}

var wheels = []wheel{
	{
		"nvidia-cuda-nvrtc-cu12", "12.4.127", "a178759ebb095827bd30ef56598ec182b85547f1508941a3d560eb7ea1fbf338",
		[]string{"nvidia/cuda_nvrtc/lib/libnvrtc.so.12", "nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.4"},
	},
	{
		"nvidia-cuda-nvcc-cu12", "12.4.131", "e4c9a35435c3b0e36c6397c5696334c9ea6650e524736cbd1c5d345ea099bb04",
		[]string{"nvidia/cuda_nvcc/bin/ptxas"},
	},
}

// fetchWheels makes sure that the files of all wheels lie in the cache, and returns their folder.
func fetchWheels() (string, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("%w: NVRTC is fetched for linux/amd64 only", errNoToolchain)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoToolchain, err)
	}
	cache = filepath.Join(cache, "lathe", "nvrtc-12.4")
	for _, w := range wheels {
		if err := w.fetch(cache); err != nil {
			return "", err
		}
	}
	return cache, nil
}

func (w wheel) fetch(cache string) error {
	missing := false
	for _, f := range w.files {
		_, err := os.Stat(filepath.Join(cache, filepath.Base(f)))
		missing = missing || err != nil
	}
	if !missing {
		return nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return fmt.Errorf("%w: %w", errNoToolchain, err)
	}
	dir, err := os.MkdirTemp(cache, "wheel")
	if err != nil {
		return fmt.Errorf("%w: %w", errNoToolchain, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path, err := w.download(dir)
	if err != nil {
		return err
	}
	for _, f := range w.files {
		if err := unpack(path, f, filepath.Join(cache, filepath.Base(f))); err != nil {
			return fmt.Errorf("unpack %s: %w", w.name, err)
		}
	}
	return nil
}

// download asks pip for exactly the wheel whose hash is known.
func (w wheel) download(dir string) (string, error) {
	args := []string{
		"download", "--quiet", "--no-deps", "--disable-pip-version-check", "--only-binary=:all:", "--platform", "manylinux2014_x86_64",
		"--dest", dir, w.name + "==" + w.version,
	}
	cmd := exec.Command("pip", args...)
	if _, err := exec.LookPath("pip"); err != nil {
		cmd = exec.Command("python3", append([]string{"-m", "pip"}, args...)...)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		last := strings.TrimSpace(string(out))
		return "", fmt.Errorf("%w: pip could not download %s==%s (%w) %s", errNoToolchain, w.name, w.version, err, last[strings.LastIndexByte(last, '\n')+1:])
	}
	found, _ := filepath.Glob(filepath.Join(dir, "*.whl"))
	if len(found) != 1 {
		return "", fmt.Errorf("%w: pip left %d wheels of %s", errNoToolchain, len(found), w.name)
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		return "", err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != w.sha256 {
		return "", fmt.Errorf("the wheel of %s==%s is another one than the one that was pinned (SHA-256 %x)", w.name, w.version, sum)
	}
	return found[0], nil
}

// unpack writes one file of a zip, complete or not at all.
func unpack(archive, name, to string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	in, err := z.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), "unpack")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(out.Name()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := os.Chmod(out.Name(), 0o755); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}
