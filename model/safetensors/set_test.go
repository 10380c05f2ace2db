package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// build puts a header and n bytes of data together.
func build(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	for i := range n {
		b = append(b, byte(i))
	}
	return b
}

// lies are files whose header is wrong, each with what the message has to say.
var lies = []struct {
	name string
	file []byte
	want []string
}{
	{"empty file", nil, []string{"0 bytes", "truncated"}},
	{"seven bytes", make([]byte, 7), []string{"7 bytes"}},
	{"header beyond file", binary.LittleEndian.AppendUint64(nil, 100), []string{"claims 100 bytes", "has 0"}},
	{"header length overflows", bytes.Repeat([]byte{0xff}, 16), []string{"claims 18446744073709551615"}},
	{"not JSON", build(`garbage!`, 0), []string{"not safetensors"}},
	{"bad JSON", build(`{"a":`, 0), []string{"tensor \"a\"", "bad JSON"}},
	{"trailing JSON", build(`{}{}`, 0), []string{"follows"}},
	{"entry not an object", build(`{"a":3}`, 0), []string{`"a"`, "not a JSON object"}},
	{"no dtype", build(`{"a":{"shape":[1],"data_offsets":[0,4]}}`, 4), []string{`"a"`, "no dtype"}},
	{"no shape", build(`{"a":{"dtype":"F32","data_offsets":[0,4]}}`, 4), []string{`"a"`, "no shape"}},
	{"no offsets", build(`{"a":{"dtype":"F32","shape":[1]}}`, 4), []string{`"a"`, "no data_offsets"}},
	{"one offset", build(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}`, 4), []string{`"a"`, "1 numbers"}},
	{"three offsets", build(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}}`, 4), []string{`"a"`, "more than 2"}},
	{"unknown dtype", build(`{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}`, 4), []string{`"a"`, `"F31"`}},
	{"dtype twice", build(`{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}`, 4), []string{`"a"`, "dtype is given twice"}},
	{"negative shape", build(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 4), []string{`"a"`, "-1"}},
	{"fractional shape", build(`{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}`, 4), []string{`"a"`, "1.0"}},
	{"huge shape", build(`{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}}`, 4), []string{`"a"`, "not a size"}},
	{"overflow", build(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}`, 4), []string{`"a"`, "overflows"}},
	{"overflow to the right size", build(`{"a":{"dtype":"U8","shape":[4294967297,4294967296],"data_offsets":[0,4]}}`, 4), []string{`"a"`, "overflows"}},
	{"half a byte", build(`{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}`, 2), []string{`"a"`, "whole number of bytes"}},
	{"shape and bytes differ", build(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), []string{`"a"`, "needs 8 bytes", "give 4"}},
	{"backwards", build(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, 4), []string{`"a"`, "backwards"}},
	{"truncated data", build(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 7), []string{`"a"`, "beyond the file's 7 bytes"}},
	{"name twice", build(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), []string{`"a"`, "twice"}},
	{"overlap", build(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3), []string{`"b"`, `overlap tensor "a"`}},
	{"gap", build(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 3), []string{`"b"`, "gap of 1 bytes"}},
	{"gap at the start", build(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), []string{`"a"`, "gap of 1 bytes"}},
	{"remainder", build(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 3), []string{"2 bytes after the last tensor"}},
	{"metadata not strings", build(`{"__metadata__":{"n":1}}`, 0), []string{"__metadata__", `"n"`}},
	{"rank without end", build(`{"a":{"dtype":"U8","shape":[`+strings.Repeat("1,", 99)+`1],"data_offsets":[0,1]}}`, 1), []string{`"a"`, "more than 64"}},
}

func TestOpenCatchesLies(t *testing.T) {
	for _, c := range lies {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "w.safetensors")
			if err := os.WriteFile(path, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(path)
			if err == nil {
				t.Fatalf("opened, with %v", s.Names())
			}
			for _, want := range append(c.want, path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("message %q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("message %q is not one line", err)
			}
		})
	}
}

// TestReadReference reads the file that Hugging Face's library wrote (testdata/make.py).
func TestReadReference(t *testing.T) {
	s, err := Open("testdata/reference.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	shapes := map[string]string{
		"model.embed_tokens.weight": "F32[5 4]", "model.norm.weight": "F16[4]", "b16": "BF16[2 3]", "f64": "F64[3]",
		"ids": "I64[2 3]", "flags": "BOOL[3]", "u8": "U8[7]", "scalar": "F32[]", "empty": "F32[0 4]", "naïve \"name\"": "I32[1]",
	}
	if len(s.Names()) != len(shapes) {
		t.Fatalf("names %v", s.Names())
	}
	for name, want := range shapes {
		x, ok := s.Tensor(name)
		if got := fmt.Sprintf("%s%v", x.DType, x.Shape); !ok || got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	// First values that numpy prints for default_rng(7): all exact, since the conversions are.
	for name, want := range map[string]float32{"model.embed_tokens.weight": 0.0012301534, "scalar": 1.5} {
		x, _ := s.Tensor(name)
		v, err := Float32s(x)
		if err != nil || v[0] != want {
			t.Errorf("%s starts with %v (%v), want %v", name, v[0], err, want)
		}
	}
	x, _ := s.Tensor("ids")
	if _, err := Float32s(x); err == nil || !strings.Contains(err.Error(), "I64") {
		t.Errorf("integers as floats: %v", err)
	}
	if s.Metadata()["format"] != "pt" {
		t.Errorf("metadata %v", s.Metadata())
	}
}

// Parts that are read from the file are those of the mapping; in memory too.
func TestReadAt(t *testing.T) {
	const path = "testdata/reference.safetensors"
	mapped, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer mapped.Close()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	inMemory, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Set{mapped, inMemory} {
		for _, name := range s.Names() {
			x, _ := s.Tensor(name)
			for _, off := range []int{0, len(x.Data) / 3} {
				got := make([]byte, len(x.Data)-off)
				if err := s.ReadAt(x, got, int64(off)); err != nil || !bytes.Equal(got, x.Data[off:]) {
					t.Errorf("%s from %d: other bytes, %v", name, off, err)
				}
			}
			if err := s.ReadAt(x, make([]byte, len(x.Data)+1), 0); err == nil {
				t.Errorf("%s: read beyond its end", name)
			}
		}
	}
}

// A file that is cut while the set is open is an error, and not the end of the program.
func TestReadAtOfACutFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := WriteSources(path, []Source{floats("a", make([]float32, 1<<16)...)}, nil); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := os.Truncate(path, 1<<12); err != nil {
		t.Fatal(err)
	}
	x, _ := s.Tensor("a")
	if err := s.ReadAt(x, make([]byte, len(x.Data)), 0); err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("a file that was cut: %v", err)
	}
}

// TestWriteEqualsReference writes the same tensors and compares the bytes with Hugging Face's file.
func TestWriteEqualsReference(t *testing.T) {
	s, err := Open("testdata/reference.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var tensors []Tensor
	for _, name := range s.Names() {
		x, _ := s.Tensor(name)
		tensors = append(tensors, x)
	}
	path := filepath.Join(t.TempDir(), "out.safetensors")
	for range 2 { // over nothing, then over itself
		if err := Write(path, tensors, s.Metadata()); err != nil {
			t.Fatal(err)
		}
		slices.Reverse(tensors)
	}
	got, _ := os.ReadFile(path)
	want, _ := os.ReadFile("testdata/reference.safetensors")
	if !bytes.Equal(got, want) {
		t.Errorf("differs from the reference: %d bytes, want %d", len(got), len(want))
	}
	noTemps(t, filepath.Dir(path))
}

func noTemps(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), ".tmp-") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

func floats(name string, v ...float32) Source {
	return Source{name, F32, []int64{int64(len(v))}, func() ([]byte, error) { return AppendFloat32s(nil, F32, v) }}
}

func TestShards(t *testing.T) {
	dir := t.TempDir()
	sources := []Source{floats("a", 1, 2), floats("b", 3), floats("c", 4, 5, 6, 7), floats("d", 8)}
	if err := WriteSharded(dir, sources[:1], PyTorch(), 0); err != nil {
		t.Fatal(err)
	}
	if err := WriteSharded(dir, sources, PyTorch(), 12); err != nil {
		t.Fatal(err)
	}
	noTemps(t, dir)
	if _, err := os.Stat(filepath.Join(dir, SingleFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the older single file still shadows the shards: %v", err)
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(s.Files()); got != 3 {
		t.Errorf("%d shards, want [a b] [c] [d]", got)
	}
	if s.Bytes() != 32 || !reflect.DeepEqual(s.Names(), []string{"a", "b", "c", "d"}) {
		t.Errorf("%d bytes, %v", s.Bytes(), s.Names())
	}
	x, _ := s.Tensor("c")
	if v, err := Float32s(x); err != nil || !reflect.DeepEqual(v, []float32{4, 5, 6, 7}) {
		t.Errorf("c = %v, %v", v, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestBadIndex(t *testing.T) {
	one := `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`
	for name, c := range map[string]struct{ index, want string }{
		"missing shard":       {`{"weight_map":{"a":"x.safetensors","b":"gone.safetensors"}}`, "gone.safetensors is missing"},
		"tensor not in shard": {`{"weight_map":{"a":"x.safetensors","zz":"x.safetensors"}}`, `"zz" in x.safetensors`},
		"outside the folder":  {`{"weight_map":{"a":"../x.safetensors"}}`, "plain file name"},
		"tensor twice":        {`{"weight_map":{"a":"x.safetensors","a":"x.safetensors"}}`, `"a" twice`},
		"map twice":           {`{"weight_map":{},"weight_map":{}}`, "two weight_map"},
		"no map":              {`{"metadata":{}}`, "no weight_map"},
		"not a string":        {`{"weight_map":{"a":1}}`, `"a"`},
		"not JSON":            {`[`, "not a JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name string, b []byte) {
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(IndexFile, []byte(c.index))
			write("x.safetensors", build(one, 1))
			_, err := Open(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), IndexFile) {
				t.Errorf("got %v, want %q and the index's name", err, c.want)
			}
		})
	}
}

func TestOpenFolders(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "no *.safetensors") {
		t.Errorf("empty folder: %v", err)
	}
	for i, name := range []string{"x.safetensors", "y.safetensors", AdapterFile, SingleFile} {
		if err := WriteSources(filepath.Join(dir, name), []Source{floats("t", float32(i))}, nil); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir)
		if name == "y.safetensors" {
			if err == nil || !strings.Contains(err.Error(), "2 *.safetensors") {
				t.Errorf("two files: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(s.Files()[0]) != name {
			t.Errorf("opened %s, want %s", s.Files()[0], name)
		}
		s.Close()
	}
}

func TestWriteRefuses(t *testing.T) {
	broken := errors.New("device lost")
	for name, c := range map[string]struct {
		sources []Source
		want    string
	}{
		"twice":      {[]Source{floats("a", 1), floats("a", 2)}, `"a" is given twice`},
		"reserved":   {[]Source{floats("__metadata__", 1)}, "twice"},
		"no type":    {[]Source{{Name: "a", Shape: []int64{1}}}, "no element type"},
		"negative":   {[]Source{{Name: "a", DType: F32, Shape: []int64{-1}}}, "negative"},
		"wrong size": {[]Source{{"a", F32, []int64{2}, func() ([]byte, error) { return make([]byte, 4), nil }}}, "needs 8 bytes, got 4"},
		"failing":    {[]Source{{"a", F32, []int64{2}, func() ([]byte, error) { return nil, broken }}}, "device lost"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "w.safetensors")
			err := WriteSources(path, c.sources, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if entries, _ := os.ReadDir(dir); len(entries) != 0 {
				t.Errorf("left %v behind", entries)
			}
		})
	}
	if err := Write(filepath.Join(t.TempDir(), "no", "such", "w.safetensors"), nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
}

// TestHalfFloats checks every binary16 and the rounding of the values between them. Exact: both directions are
// defined bit by bit by IEEE 754.
func TestHalfFloats(t *testing.T) {
	for h := range 1 << 16 {
		f := float16to32(uint16(h))
		if f != f {
			if back := float16(f); back&0x7c00 != 0x7c00 || back&0x3ff == 0 {
				t.Fatalf("NaN %04x became %04x", h, back)
			}
			continue
		}
		if back := float16(f); back != uint16(h) {
			t.Fatalf("%04x → %v → %04x", h, f, back)
		}
		if h&0x7fff >= 0x7bff {
			continue // the next one is infinity
		}
		next := float16to32(uint16(h + 1))
		mid := (f + next) / 2
		if got := float16(mid); got != uint16(h+h&1) {
			t.Fatalf("the middle of %04x and its successor rounds to %04x, not to the even one", h, got)
		}
		if got := float16(math.Nextafter32(mid, next)); got != uint16(h+1) {
			t.Fatalf("above the middle of %04x: %04x", h, got)
		}
	}
	for f, want := range map[float32]uint16{1: 0x3c00, 65504: 0x7bff, 65519.996: 0x7bff, 65520: 0x7c00, 5.9604645e-08: 1, 2.9802322e-08: 0, -2: 0xc000, 0.333251953125: 0x3555} {
		if got := float16(f); got != want {
			t.Errorf("float16(%v) = %04x, want %04x", f, got, want)
		}
	}
}

func TestBfloat16(t *testing.T) {
	for in, want := range map[uint32]uint16{
		0x3f800000: 0x3f80, 0x3f808000: 0x3f80, 0x3f818000: 0x3f82, 0x3f808001: 0x3f81, // ties to even
		0x7f7fffff: 0x7f80, 0xff800000: 0xff80, 0x7f800001: 0x7fc0, 0x80000000: 0x8000, 1: 0,
	} {
		if got := bfloat16(math.Float32frombits(in)); got != want {
			t.Errorf("bfloat16(%08x) = %04x, want %04x", in, got, want)
		}
	}
}

func TestConversions(t *testing.T) {
	v := []float32{0, -1.5, 3.25, 1024}
	for _, d := range []DType{F32, F16, BF16, F64} { // exact: the values fit every type
		b, err := AppendFloat32s(nil, d, v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Float32s(Tensor{Name: "x", DType: d, Shape: []int64{2, 2}, Data: b})
		if err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%s: %v, %v", d, got, err)
		}
		if _, err := Float32s(Tensor{Name: "x", DType: d, Shape: []int64{3}, Data: b}); err == nil {
			t.Errorf("%s: a shape that does not fit its bytes was accepted", d)
		}
	}
	if _, err := AppendFloat32s(nil, I8, v); err == nil {
		t.Error("floats as I8 were accepted")
	}
}

func TestParse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.safetensors")
	if err := WriteSources(path, []Source{floats("x", 1, 2), floats("a", 3)}, PyTorch()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Names(); !slices.Equal(got, []string{"a", "x"}) || s.Metadata()["format"] != "pt" {
		t.Errorf("names %q, metadata %q", got, s.Metadata())
	}
	if x, _ := s.Tensor("x"); len(x.Data) != 8 {
		t.Errorf("x has %d bytes, want 8", len(x.Data))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Parse(data[:len(data)-1]); err == nil {
		t.Error("a truncated file was accepted")
	}
}
