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

// leastEntry is the length of the shortest text that describes a tensor: no header has more tensors than this says.
const leastEntry = len(`"":{"dtype":"U8","shape":[],"data_offsets":[0,1]}`)

// readEntries reads the header's JSON. It allocates in proportion to the header, however many tensors that lists.
func readEntries(raw []byte) ([]entry, map[string]string, error) {
	entries := make([]entry, 0, min(bytes.Count(raw, []byte(`"data_offsets"`)), len(raw)/leastEntry+1))
	var metadata map[string]string
	err := eachMember(raw, func(name string, dec *jsontext.Decoder) error {
		if name == "__metadata__" {
			if metadata != nil {
				return errTwice(name)
			}
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
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.Name, b.Name) })
	for i := range entries {
		if i > 0 && entries[i].Name == entries[i-1].Name {
			return nil, nil, errTwice(entries[i].Name)
		}
	}
	return entries, metadata, nil
}

func errTwice(name string) error { return fmt.Errorf("header names tensor %q twice", name) }

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

// entryKeys are what describes a tensor.
var entryKeys = [...]string{"dtype", "shape", "data_offsets"}

// readEntry reads {"dtype": …, "shape": […], "data_offsets": [begin, end]}.
func readEntry(dec *jsontext.Decoder) (entry, error) {
	var e entry
	var offsets [2]int64
	var seen [len(entryKeys)]bool
	err := readObject(dec, "its entry", func(key string) (err error) {
		at := slices.Index(entryKeys[:], key)
		if at < 0 {
			return dec.SkipValue()
		}
		if seen[at] {
			return fmt.Errorf("%s is given twice", key)
		}
		seen[at] = true
		switch key {
		case "dtype":
			e.DType, err = readDType(dec)
		case "shape":
			var sizes [maxRank]int64
			var n int
			n, err = readInts(dec, "shape", sizes[:])
			e.Shape = append(make([]int64, 0, n), sizes[:n]...)
		case "data_offsets":
			var n int
			if n, err = readInts(dec, "data_offsets", offsets[:]); err == nil && n != len(offsets) {
				err = fmt.Errorf("data_offsets has %d numbers, not 2", n)
			}
		}
		return err
	})
	if err != nil {
		return e, err
	}
	for i, key := range entryKeys {
		if !seen[i] {
			return e, fmt.Errorf("has no %s", key)
		}
	}
	e.begin, e.end = offsets[0], offsets[1]
	return e, nil
}

func readDType(dec *jsontext.Decoder) (DType, error) {
	s, err := readString(dec)
	if err != nil {
		return DType(0), fmt.Errorf("dtype: %w", err)
	}
	d, ok := ParseDType(s)
	if !ok {
		return DType(0), fmt.Errorf("unknown dtype %q", s)
	}
	return d, nil
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

// readInts reads a list of non-negative integers, at most as many as ints holds, and says how many there were.
func readInts(dec *jsontext.Decoder, what string, ints []int64) (n int, err error) {
	tok, err := dec.ReadToken()
	if err != nil {
		return 0, fmt.Errorf("bad JSON: %w", err)
	}
	if tok.Kind() != '[' {
		return 0, fmt.Errorf("%s is not a list", what)
	}
	for dec.PeekKind() != ']' {
		v, err := dec.ReadValue()
		if err != nil {
			return 0, fmt.Errorf("bad JSON: %w", err)
		}
		x, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil || x < 0 {
			return 0, fmt.Errorf("%s holds %s, not a size", what, clip(string(v)))
		}
		if n == len(ints) {
			return 0, fmt.Errorf("%s holds more than %d numbers", what, len(ints))
		}
		ints[n] = x
		n++
	}
	if _, err := dec.ReadToken(); err != nil {
		return 0, fmt.Errorf("bad JSON: %w", err)
	}
	return n, nil
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
