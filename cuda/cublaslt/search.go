package cublaslt

import (
	"path/filepath"
	"slices"
)

// sonames are the library's names, of CUDA 13, 12 and 11.
var sonames = []string{"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11"}

// beside are the folders that hold the library in a folder of Python packages, and in a toolkit.
var beside = []string{"", "lib64", "lib", "nvidia/cu13/lib", "nvidia/cublas/lib"}

// folders are where toolkits and Python packages lie, as patterns under the root or an environment variable's folder.
var folders = []struct{ variable, pattern string }{
	{"CUDA_HOME", ""},
	{"CUDA_PATH", ""},
	{"", "/usr/local/cuda*"},
	{"", "/opt/cuda*"},
	{"VIRTUAL_ENV", "lib/python3*/site-packages"},
	{"CONDA_PREFIX", "lib/python3*/site-packages"},
	{"CONDA_PREFIX", ""},
	{"HOME", ".local/lib/python3*/site-packages"},
	{"", "/usr/local/lib/python3*/dist-packages"},
	{"", "/usr/local/lib/python3*/site-packages"},
}

// Candidates are the paths to try, in this order: what EnvPath names, alone where it is set; the names by which the system's loader knows
// the library (ldconfig, LD_LIBRARY_PATH); toolkits and Python packages in their usual places. EnvPath "off" is no path.
func Candidates(env func(string) string) []string {
	switch own := env(EnvPath); own {
	case "":
	case "off":
		return nil
	default:
		if found := inside(own); len(found) > 0 {
			return found
		}
		return []string{own}
	}
	paths := slices.Clone(sonames)
	for _, f := range folders {
		root := "/"
		if f.variable != "" {
			if root = env(f.variable); root == "" {
				continue
			}
		}
		paths = append(paths, inside(filepath.Join(root, f.pattern))...)
	}
	return paths
}

// inside are the libraries in the folders that a pattern matches, the newest name first.
func inside(pattern string) []string {
	var paths []string
	for _, name := range sonames {
		for _, b := range beside {
			found, _ := filepath.Glob(filepath.Join(pattern, b, name))
			paths = append(paths, found...)
		}
	}
	return paths
}
