package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// maxHeader is the reference implementation's limit on a header, 100 MB.
const maxHeader = 100_000_000

// maxRank bounds the shape of one tensor; no framework goes beyond a few dozen dimensions.
const maxRank = 64

type header struct {
	tensors  []Tensor // in the order of their bytes
	metadata map[string]string
}

type entry struct {
	Tensor
	begin, end int64
}

// parseHeader reads the header of a file and checks every claim against the file's bytes: types, products of
// shapes, and that the ranges cover the data without overlap, gap or remainder.
func parseHeader(file []byte) (*header, error) {
	if len(file) < 8 {
		return nil, fmt.Errorf("file has %d bytes, too short for a safetensors header: it is truncated or not safetensors", len(file))
	}
	n := binary.LittleEndian.Uint64(file)
	if n > uint64(len(file)-8) {
		return nil, fmt.Errorf("header claims %d bytes but the file has %d after the length: it is truncated or not safetensors", n, len(file)-8)
	}
	if n > maxHeader {
		return nil, fmt.Errorf("header claims %d bytes, above the format's limit of %d", n, maxHeader)
	}
	raw, data := file[8:8+n], file[8+n:]
	if !bytes.HasPrefix(raw, []byte("{")) {
		return nil, fmt.Errorf("header does not start with '{': the file is not safetensors")
	}
	entries, metadata, err := readEntries(raw)
	if err != nil {
		return nil, err
	}
	h := &header{metadata: metadata}
	if h.tensors, err = placeTensors(entries, data); err != nil {
		return nil, err
	}
	return h, nil
}

// readEntries reads the header's JSON.
func readEntries(raw []byte) ([]entry, map[string]string, error) {
	var entries []entry
	var metadata map[string]string
	seen := map[string]bool{}
	err := eachMember(raw, func(name string, dec *jsontext.Decoder) error {
		if seen[name] {
			return fmt.Errorf("header names tensor %q twice", name)
		}
		seen[name] = true
		if name == "__metadata__" {
			var err error
			metadata, err = readMetadata(dec)
			return err
		}
		e, err := readEntry(dec)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		e.Name = name
		entries = append(entries, e)
		return nil
	})
	return entries, metadata, err
}

func readMetadata(dec *jsontext.Decoder) (map[string]string, error) {
	m := map[string]string{}
	err := readObject(dec, "__metadata__", func(key string) error {
		v, err := readString(dec)
		if err != nil {
			return fmt.Errorf("__metadata__ %q: %w", key, err)
		}
		m[key] = v
		return nil
	})
	return m, err
}

// readEntry reads {"dtype": …, "shape": […], "data_offsets": [begin, end]}.
func readEntry(dec *jsontext.Decoder) (entry, error) {
	var e entry
	var offsets []int64
	seen := map[string]bool{}
	err := readObject(dec, "its entry", func(key string) error {
		if seen[key] {
			return fmt.Errorf("%s is given twice", key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			s, err := readString(dec)
			if err != nil {
				return fmt.Errorf("dtype: %w", err)
			}
			d, ok := ParseDType(s)
			if !ok {
				return fmt.Errorf("unknown dtype %q", s)
			}
			e.DType = d
			return nil
		case "shape":
			var err error
			e.Shape, err = readInts(dec, "shape", maxRank)
			return err
		case "data_offsets":
			var err error
			offsets, err = readInts(dec, "data_offsets", 2)
			return err
		}
		return dec.SkipValue()
	})
	if err != nil {
		return e, err
	}
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[key] {
			return e, fmt.Errorf("has no %s", key)
		}
	}
	if len(offsets) != 2 {
		return e, fmt.Errorf("data_offsets has %d numbers, not 2", len(offsets))
	}
	e.begin, e.end = offsets[0], offsets[1]
	return e, nil
}

// placeTensors checks sizes and ranges and cuts data into the tensors' slices.
func placeTensors(entries []entry, data []byte) ([]Tensor, error) {
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), cmp.Compare(a.Name, b.Name))
	})
	tensors := make([]Tensor, 0, len(entries))
	var at int64
	before := ""
	for _, e := range entries {
		want, err := byteSize(e.DType, e.Shape)
		switch {
		case err != nil:
			return nil, fmt.Errorf("tensor %q: %w", e.Name, err)
		case e.end < e.begin:
			return nil, fmt.Errorf("tensor %q: data_offsets [%d, %d] run backwards", e.Name, e.begin, e.end)
		case e.end > int64(len(data)):
			return nil, fmt.Errorf("tensor %q: data_offsets [%d, %d] end beyond the file's %d bytes of data: the file is truncated or its header lies", e.Name, e.begin, e.end, len(data))
		case e.end-e.begin != want:
			return nil, fmt.Errorf("tensor %q: %s%v needs %d bytes, data_offsets give %d", e.Name, e.DType, e.Shape, want, e.end-e.begin)
		case e.begin < at:
			return nil, fmt.Errorf("tensor %q: bytes from %d overlap tensor %q, which ends at %d", e.Name, e.begin, before, at)
		case e.begin > at:
			return nil, fmt.Errorf("tensor %q: a gap of %d bytes lies before its data at %d", e.Name, e.begin-at, e.begin)
		}
		t := e.Tensor
		t.Data = data[e.begin:e.end:e.end]
		tensors = append(tensors, t)
		at, before = e.end, e.Name
	}
	if at != int64(len(data)) {
		return nil, fmt.Errorf("%d bytes after the last tensor belong to none: the header lies or the file was appended to", int64(len(data))-at)
	}
	return tensors, nil
}

// byteSize is the size in bytes of a tensor, checked for overflow and for a whole number of bytes.
func byteSize(d DType, shape []int64) (int64, error) {
	total := uint64(d.Bits())
	for _, n := range shape {
		hi, lo := bits.Mul64(total, uint64(n))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, fmt.Errorf("the size of %s%v overflows", d, shape)
		}
		total = lo
	}
	if total%8 != 0 {
		return 0, fmt.Errorf("%s%v is not a whole number of bytes", d, shape)
	}
	return int64(total / 8), nil
}

// eachMember walks the members of the one JSON object that raw holds.
func eachMember(raw []byte, member func(key string, dec *jsontext.Decoder) error) error {
	// Duplicates are allowed here and caught by the callers, whose message names the tensor.
	dec := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true))
	if err := readObject(dec, "header", func(key string) error { return member(key, dec) }); err != nil {
		return err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("something follows the JSON object")
	}
	return nil
}

func readObject(dec *jsontext.Decoder, what string, member func(key string) error) error {
	tok, err := dec.ReadToken()
	if err != nil {
		return fmt.Errorf("bad JSON: %w", err)
	}
	if tok.Kind() != '{' {
		return fmt.Errorf("%s is not a JSON object", what)
	}
	for {
		tok, err := dec.ReadToken()
		if err != nil {
			return fmt.Errorf("bad JSON: %w", err)
		}
		if tok.Kind() == '}' {
			return nil
		}
		if err := member(tok.String()); err != nil {
			return err
		}
	}
}

func readString(dec *jsontext.Decoder) (string, error) {
	tok, err := dec.ReadToken()
	if err != nil {
		return "", fmt.Errorf("bad JSON: %w", err)
	}
	if tok.Kind() != '"' {
		return "", fmt.Errorf("not a string")
	}
	return tok.String(), nil
}

// readInts reads a list of at most limit non-negative integers.
func readInts(dec *jsontext.Decoder, what string, limit int) ([]int64, error) {
	tok, err := dec.ReadToken()
	if err != nil {
		return nil, fmt.Errorf("bad JSON: %w", err)
	}
	if tok.Kind() != '[' {
		return nil, fmt.Errorf("%s is not a list", what)
	}
	ints := []int64{}
	for dec.PeekKind() != ']' {
		v, err := dec.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("bad JSON: %w", err)
		}
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%s holds %s, not a size", what, clip(string(v)))
		}
		if len(ints) == limit {
			return nil, fmt.Errorf("%s holds more than %d numbers", what, limit)
		}
		ints = append(ints, n)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, fmt.Errorf("bad JSON: %w", err)
	}
	return ints, nil
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
