package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"lathe/datasets"
	"lathe/internal/demo"
	"lathe/internal/performance"
	"lathe/model/tokenizer"
)

// textBench chooses the work.
type textBench struct {
	model, data string
	megabytes   int
}

func (f *textBench) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", "", "JSON lines to work on (default: generated ones)")
	cmd.Flags().IntVar(&f.megabytes, "megabytes", 8, "size of the generated rows")
}

func benchTokenizeCommand(e *env) *cobra.Command {
	var f textBench
	cmd := benchLeaf(e, "tokenize", "Token ids of text, on one core and on all", func(context.Context, []string) (report, error) {
		return e.benchTokenize(f)
	})
	f.add(cmd)
	cmd.Flags().StringVar(&f.model, "model", "", "folder with tokenizer.json, or the file itself (default: the built-in model's)")
	return cmd
}

func benchLintCommand(e *env) *cobra.Command {
	var f textBench
	cmd := benchLeaf(e, "lint", "Linting rows on one core beside a bare walk over their JSON, and on all cores", func(ctx context.Context, _ []string) (report, error) {
		return e.benchLint(ctx, f)
	})
	f.add(cmd)
	return cmd
}

// rows reads or makes the JSON lines; source names them.
func (f textBench) rows() (text []byte, source string, err error) {
	if f.data != "" {
		text, err = os.ReadFile(f.data)
		if err != nil {
			return nil, "", configError(fmt.Errorf("read rows: %w", err))
		}
		return text, filepath.Base(f.data), nil
	}
	if f.megabytes < 1 {
		return nil, "", usage("--megabytes is at least 1")
	}
	return generatedRows(f.megabytes << 20), "generated", nil
}

// generatedRows are alpaca rows of words with the frequencies of a language: the k-th most frequent word has 1/k of the first's
// (Zipf 1935), names and numbers between.
func generatedRows(size int) []byte {
	r := rand.New(rand.NewPCG(5, 6))
	words := make([]string, 4000)
	for i := range words {
		var w strings.Builder
		for range 1 + r.IntN(4) {
			w.WriteByte("bcdfghklmnprstvw"[r.IntN(16)])
			w.WriteByte("aeiou"[r.IntN(5)])
		}
		words[i] = w.String()
	}
	zipf := rand.NewZipf(r, 1.1, 2, uint64(len(words)-1))
	sentence := func(n int) string {
		var s strings.Builder
		for i := range n {
			switch {
			case i == 0:
				s.WriteString(strings.ToUpper(words[0][:1]))
			case r.IntN(20) == 0:
				fmt.Fprintf(&s, " %d", r.IntN(2000))
				continue
			case r.IntN(12) == 0:
				s.WriteByte(',')
			}
			s.WriteString(" " + words[zipf.Uint64()])
		}
		return s.String() + "."
	}
	var out bytes.Buffer
	for out.Len() < size {
		fmt.Fprintf(&out, "{\"instruction\":%q,\"input\":\"\",\"output\":%q}\n", sentence(8+r.IntN(30)), sentence(10+r.IntN(80)))
	}
	return out.Bytes()
}

// benchTokenizer opens --model, or the built-in model's tokenizer.
func benchTokenizer(path string) (*tokenizer.Tokenizer, string, error) {
	if path == "" {
		dir, remove, err := benchFolder("")
		if err != nil {
			return nil, "", err
		}
		defer remove()
		if _, err := demo.Write(dir); err != nil {
			return nil, "", err
		}
		tok, err := openTokenizer(filepath.Join(dir, "model"))
		return tok, "built-in", err
	}
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, "", err
		}
		tok, err := tokenizer.Parse(data)
		return tok, filepath.Base(path), err
	}
	tok, err := openTokenizer(path)
	return tok, filepath.Base(path), err
}

// strings of JSON lines, in order: what is tokenised.
func stringsOf(text []byte) (all []string, size int64, err error) {
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	for {
		token, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return all, size, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read rows: %w", err)
		}
		if kind, n := dec.StackIndex(dec.StackDepth()); token.Kind() == '"' && !(kind == '{' && n%2 == 1) {
			all = append(all, token.String())
			size += int64(len(all[len(all)-1]))
		}
	}
}

func (e *env) benchTokenize(f textBench) (report, error) {
	text, source, err := f.rows()
	if err != nil {
		return report{}, err
	}
	tok, name, err := benchTokenizer(f.model)
	if err != nil {
		return report{}, err
	}
	all, size, err := stringsOf(text)
	if err != nil {
		return report{}, err
	}
	b, err := e.newHostBencher()
	if err != nil {
		return report{}, err
	}
	defer b.close()
	r := performance.Text{Source: source, Tokenizer: name, Bytes: size}
	r.MBPerSecond, _ = median3(func() (float64, error) {
		start := time.Now()
		r.Tokens = 0
		for _, s := range all {
			r.Tokens += int64(len(tok.Encode(s, false)))
		}
		return float64(size) / 1e6 / time.Since(start).Seconds(), nil
	})
	r.AllCores, _ = median3(func() (float64, error) { return tokenizeTogether(tok, all, size), nil })
	if r.Head, err = b.head(performance.WhatTokenize); err != nil {
		return report{}, err
	}
	return report{json: r, rows: append([][]string{
		headRow(r.Head),
		{"work", fmt.Sprintf("%s of text, %s, tokenizer %s: %s tokens", bytesText(r.Bytes), r.Source, r.Tokenizer, count(r.Tokens))},
		{"one core", fmt.Sprintf("%.1f MB/s", r.MBPerSecond)},
		{"all cores", fmt.Sprintf("%.1f MB/s", r.AllCores)},
	}, peakRows(r.Peak)...)}, nil
}

// tokenizeTogether gives each core a share of the texts, and returns MB a second.
func tokenizeTogether(tok *tokenizer.Tokenizer, all []string, size int64) float64 {
	workers := runtime.GOMAXPROCS(0)
	var wait sync.WaitGroup
	start := time.Now()
	for w := range workers {
		wait.Go(func() {
			for i := w; i < len(all); i += workers {
				tok.Encode(all[i], false)
			}
		})
	}
	wait.Wait()
	return float64(size) / 1e6 / time.Since(start).Seconds()
}

func (e *env) benchLint(ctx context.Context, f textBench) (report, error) {
	text, source, err := f.rows()
	if err != nil {
		return report{}, err
	}
	path := f.data
	if path == "" {
		dir, remove, err := benchFolder("")
		if err != nil {
			return report{}, err
		}
		defer remove()
		path = filepath.Join(dir, "rows.jsonl")
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return report{}, err
		}
	}
	b, err := e.newHostBencher()
	if err != nil {
		return report{}, err
	}
	defer b.close()
	r := performance.Text{Source: source, Bytes: int64(len(text))}
	var walks, lints, every []float64
	for range 3 { // in turn
		rate, err := walk(path, r.Bytes)
		if err != nil {
			return report{}, err
		}
		one, err := lintRate(ctx, path, r.Bytes, 1)
		if err != nil {
			return report{}, err
		}
		all, err := lintRate(ctx, path, r.Bytes, 0)
		if err != nil {
			return report{}, err
		}
		walks, lints, every = append(walks, rate), append(lints, one), append(every, all)
	}
	r.Walk, r.MBPerSecond, r.AllCores = performance.Median(walks), performance.Median(lints), performance.Median(every)
	r.OfWalk = r.MBPerSecond / r.Walk
	if r.Head, err = b.head(performance.WhatLint); err != nil {
		return report{}, err
	}
	return report{json: r, rows: append([][]string{
		headRow(r.Head),
		{"work", fmt.Sprintf("%s of JSON lines, %s", bytesText(r.Bytes), r.Source)},
		{"one core", fmt.Sprintf("%.0f MB/s: %.2f of a bare jsontext walk, %.0f MB/s", r.MBPerSecond, r.OfWalk, r.Walk)},
		{"all cores", fmt.Sprintf("%.0f MB/s", r.AllCores)},
	}, peakRows(r.Peak)...)}, nil
}

// walk reads every JSON token of a file and looks at none.
func walk(path string, size int64) (float64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	start := time.Now()
	dec := jsontext.NewDecoder(bufio.NewReaderSize(file, 1<<20))
	for {
		if _, err := dec.ReadToken(); errors.Is(err, io.EOF) {
			return float64(size) / 1e6 / time.Since(start).Seconds(), nil
		} else if err != nil {
			return 0, fmt.Errorf("walk over %s: %w", path, err)
		}
	}
}

// lintRate lints a file with so many workers (0: one a core), from opening it on, and returns MB a second.
func lintRate(ctx context.Context, path string, size int64, workers int) (float64, error) {
	start := time.Now()
	file, err := datasets.Open(path, datasets.Options{})
	if err != nil {
		return 0, configError(err)
	}
	defer file.Close()
	if _, err := datasets.Lint(ctx, file, datasets.LintOptions{Workers: workers}, func(datasets.Finding) {}); err != nil {
		return 0, err
	}
	return float64(size) / 1e6 / time.Since(start).Seconds(), nil
}
