package safetensors

import "fmt"

// DType is the element type of a tensor, named as the safetensors header spells it.
type DType uint8

// The element types of the safetensors format, version 0.8, in the order of the reference implementation, which
// writes later ones first.
const (
	Invalid DType = iota
	BOOL
	F4
	F6E2M3
	F6E3M2
	U8
	I8
	F8E5M2
	F8E4M3
	F8E8M0
	I16
	U16
	F16
	BF16
	I32
	U32
	F32
	C64
	F64
	I64
	U64
)

var dtypes = [...]struct {
	name string
	bits int64
}{
	Invalid: {"INVALID", 0},
	BOOL:    {"BOOL", 8},
	U8:      {"U8", 8},
	I8:      {"I8", 8},
	F8E4M3:  {"F8_E4M3", 8},
	F8E5M2:  {"F8_E5M2", 8},
	F8E8M0:  {"F8_E8M0", 8},
	I16:     {"I16", 16},
	U16:     {"U16", 16},
	F16:     {"F16", 16},
	BF16:    {"BF16", 16},
	I32:     {"I32", 32},
	U32:     {"U32", 32},
	F32:     {"F32", 32},
	C64:     {"C64", 64},
	F64:     {"F64", 64},
	I64:     {"I64", 64},
	U64:     {"U64", 64},
	F4:      {"F4", 4},
	F6E2M3:  {"F6_E2M3", 6},
	F6E3M2:  {"F6_E3M2", 6},
}

// String gives the header's spelling, such as "BF16".
func (d DType) String() string {
	if int(d) < len(dtypes) {
		return dtypes[d].name
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// Bits is the width of one element; F4 and the F6 types are narrower than a byte.
func (d DType) Bits() int64 {
	if int(d) < len(dtypes) {
		return dtypes[d].bits
	}
	return 0
}

// ParseDType reads the header's spelling of an element type.
func ParseDType(s string) (DType, bool) {
	for d := BOOL; int(d) < len(dtypes); d++ {
		if dtypes[d].name == s {
			return d, true
		}
	}
	return Invalid, false
}
