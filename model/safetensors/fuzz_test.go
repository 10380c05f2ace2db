package safetensors

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"lathe/internal/alloctest"
)

// What a file costs that says next to nothing: the JSON decoder's own buffers, and the text of an error. An index is a map, whose
// first entries are dear: eight bytes of text can become an entry of eighty.
const (
	headerCosts = 16 << 10
	indexCosts  = 64 << 10
)

// FuzzHeader: whatever the bytes, the reader gives an error or tensors that lie inside the file.
func FuzzHeader(f *testing.F) {
	for _, c := range lies {
		f.Add(c.file)
	}
	reference, err := os.ReadFile("testdata/reference.safetensors")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reference)
	f.Fuzz(func(t *testing.T, b []byte) {
		var h *header
		var err error
		alloctest.Within(t, len(b), headerCosts, func() { h, err = parseHeader(b) })
		if err != nil {
			return
		}
		total := 0
		for _, x := range h.tensors {
			if want, err := byteSize(x.DType, x.Shape); err != nil || want != int64(len(x.Data)) {
				t.Fatalf("%q: %d bytes for %s%v", x.Name, len(x.Data), x.DType, x.Shape)
			}
			total += len(x.Data)
		}
		if n := int(binary.LittleEndian.Uint64(b)); 8+n+total != len(b) {
			t.Fatalf("header %d and tensors %d do not make %d bytes", n, total, len(b))
		}
	})
}

// FuzzIndex: an index gives an error or plain names.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":3},"weight_map":{"a":"x.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../x"}}`))
	f.Add([]byte(`{"weight_map":{"a":1}}`))
	f.Add([]byte(`{"weight_map":{"a":"x.safetensors","a":"y.safetensors"},"weight_map":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m map[string]string
		var err error
		alloctest.Within(t, len(b), indexCosts, func() { m, err = parseIndex(b) })
		if err != nil {
			return
		}
		for _, shard := range m {
			if strings.ContainsAny(shard, `/\`) {
				t.Fatalf("shard %q", shard)
			}
		}
	})
}

// The bound holds where every byte of a header is spent on listing tensors, too.
func TestDenseHeaderStaysSmall(t *testing.T) {
	var text strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&text, `,"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, i)
	}
	file := build("{"+text.String()[1:]+"}", 0)
	alloctest.Within(t, len(file), headerCosts, func() {
		if h, err := parseHeader(file); err != nil || len(h.tensors) != 20000 {
			t.Fatalf("%v", err)
		}
	})
}
