package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// scripts ask the libraries that we are held against. Each prints one JSON object as its last line.
//
//go:embed python/*.py
var scripts embed.FS

// errNoPython: what Python would tell cannot be had here.
var errNoPython = errors.New("no python3 here")

// script runs one of the scripts and decodes its last line. What it needs and does not find is {"missing": "torch"}, an error.
func (c *check) script(name string, into any, args ...string) error {
	if c.Python == "" {
		return errNoPython
	}
	text, err := scripts.ReadFile("python/" + name)
	if err != nil {
		return err
	}
	path := filepath.Join(c.Work, name)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(context.Background(), c.until)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Python, append([]string{path}, args...)...)
	cmd.Dir = c.Work
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(c.Home, "site")+string(os.PathListSeparator)+os.Getenv("PYTHONPATH"),
		"HF_HUB_OFFLINE=1", "TOKENIZERS_PARALLELISM=false", "CUDA_DEVICE_ORDER=FASTEST_FIRST")
	var stdout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: no time was left for it", name)
		}
		return fmt.Errorf("%s: %w (its output is in gpucheck.log)", name, err)
	}
	return decodeLast(name, stdout.String(), into)
}

func decodeLast(name, output string, into any) error {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	last := []byte(lines[len(lines)-1])
	var missing struct {
		Missing string `json:"missing"`
	}
	if err := json.Unmarshal(last, &missing); err != nil {
		return fmt.Errorf("%s: its last line is no JSON: %q", name, last)
	}
	if missing.Missing != "" {
		return fmt.Errorf("%w: %s", errNoPython, missing.Missing)
	}
	return json.Unmarshal(last, into)
}
