package emulator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// BuildNCCL compiles the emulated NCCL (nccl/nccl.cpp), with which ranks on emulated devices sum their tensors, and returns the
// library's path in the user's cache.
func BuildNCCL() (string, error) {
	compiler, root, cache, err := places()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "cuda", "emulator", "nccl")
	source, err := os.ReadFile(filepath.Join(dir, "nccl.cpp"))
	if err != nil {
		return "", fmt.Errorf("read a source of the emulated device: %w", err)
	}
	base, err := version(compiler)
	if err != nil {
		return "", err
	}
	flags := []string{"-shared", "-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL"}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s", base, strings.Join(flags, " "), source)
	library := filepath.Join(cache, "libnccl-emulated-"+hex.EncodeToString(h.Sum(nil))[:24]+".so")
	return library, compile(compiler, dir, library, append(flags, "nccl.cpp", "-ldl", "-lpthread"))
}
