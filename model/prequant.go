package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"lathe/compute"
	"lathe/model/safetensors"
)

// Quantization is quantization_config of a checkpoint whose linear layers were quantised by bitsandbytes before they were saved.
// Which ones were, and how, their own tensors say; this is what holds for the checkpoint as a whole.
type Quantization struct {
	Type        compute.QuantType `json:"quant_type"`       // bnb_4bit_quant_type
	DoubleQuant bool              `json:"use_double_quant"` // bnb_4bit_use_double_quant
	Skip        []string          `json:"skip_modules"`     // llm_int8_skip_modules
}

// String is a line for people: "bitsandbytes nf4, double quantised".
func (q Quantization) String() string {
	text := "bitsandbytes " + q.Type.String()
	if q.DoubleQuant {
		text += ", double quantised"
	}
	return text
}

// originals says what to take instead of a checkpoint that is quantised in a way that is not read.
const originals = "take the checkpoint that it was made from and set load_in_4bit, or one that bitsandbytes quantised (nf4 or fp4)"

// readQuantization reads quantization_config as transformers' BitsAndBytesConfig writes it, old (load_in_4bit) and new
// (_load_in_4bit). Other methods are refused by name. Keys that only say how to compute (bnb_4bit_compute_dtype, thresholds of
// 8-bit layers) are the run's own to choose.
func (c *Config) readQuantization(parent *keys) {
	const key = "quantization_config"
	k := parent.object(key)
	if k == nil || len(k.raw) == 0 {
		return
	}
	refuse := func(key, format string, args ...any) { k.fail(key, fmt.Errorf(format+": "+originals, args...)) }
	in4 := k.flag("load_in_4bit", k.flag("_load_in_4bit", false))
	in8 := k.flag("load_in_8bit", k.flag("_load_in_8bit", false))
	method := k.text("quant_method", "")
	q := Quantization{DoubleQuant: k.flag("bnb_4bit_use_double_quant", false)}
	switch {
	case k.err != nil:
	case method == "" && !in4 && !in8:
		k.fail("quant_method", errors.New("the key is missing, so nothing says how the weights are quantised: "+originals))
	case method != "bitsandbytes" && method != "":
		refuse("quant_method", "%q is not read", method)
	case in8:
		refuse("load_in_8bit", "8-bit weights (LLM.int8) are not read")
	case !in4:
		refuse("load_in_4bit", "it is not set, so nothing says how bitsandbytes quantised the weights")
	}
	switch name := k.text("bnb_4bit_quant_type", "fp4"); name { // bitsandbytes' default
	case "nf4":
	case "fp4":
		q.Type = compute.FP4
	default:
		refuse("bnb_4bit_quant_type", "%q is neither nf4 nor fp4", name)
	}
	storages := []string{"uint8", "int8", "float16", "bfloat16", "float32", "float64"}
	if storage := k.text("bnb_4bit_quant_storage", "uint8"); !slices.Contains(storages, storage) {
		refuse("bnb_4bit_quant_storage", "%q is none of the types in which bitsandbytes stores 4-bit weights", storage)
	}
	q.Skip = decode[[]string](k, "llm_int8_skip_modules", nil, "a list of names")
	parent.join(k)
	c.Quantization = &q
}

// prequantized is the state of one linear layer [Out,In] that was quantised before it was saved: bitsandbytes' QuantState.
type prequantized struct {
	Type        compute.QuantType
	DoubleQuant bool
	offset      float32 // mean of the scales, of a double-quantised layer
}

// bitsandbytes' names of the tensors that lie beside a quantised weight.
const (
	absmaxSuffix    = ".absmax"
	codeSuffix      = ".quant_map"
	nestedSuffix    = ".nested_absmax"
	nestedMapSuffix = ".nested_quant_map"
	stateSuffix     = ".quant_state.bitsandbytes__"
)

// quantState is the JSON of X.quant_state.bitsandbytes__nf4.
type quantState struct {
	QuantType       string   `json:"quant_type"`
	Blocksize       int      `json:"blocksize"`
	DType           string   `json:"dtype"` // of the weight before, which the device's own compute type replaces
	Shape           []int    `json:"shape"`
	NestedBlocksize int      `json:"nested_blocksize"`
	NestedDType     string   `json:"nested_dtype"`
	NestedOffset    *float64 `json:"nested_offset"`
}

// readPrequantized reads and checks the tensors that bitsandbytes wrote for a linear layer; nil where the layer is plain.
// wanted gets their names.
func readPrequantized(set *safetensors.Set, spec tensorSpec, wanted map[string]bool) (*prequantized, error) {
	state, code, ok := stateTensor(set, spec.name)
	if !ok {
		return nil, nil
	}
	q := &prequantized{Type: code}
	s, err := q.parseState(state, spec)
	if err != nil {
		return nil, fmt.Errorf("tensor %s: %w", state.Name, err)
	}
	out, in := spec.shape[0], spec.shape[1]
	blocks := compute.QuantBlocks(out, in)
	weight, _ := set.Tensor(spec.name)
	if want := int64(out*in+1) / 2; int64(len(weight.Data)) != want {
		return nil, fmt.Errorf("tensor %s: %s%v holds %d bytes, but %v in 4 bits are %d", spec.name, weight.DType, weight.Shape, len(weight.Data), spec.shape, want)
	}
	parts := []sidecar{{absmaxSuffix, safetensors.F32, blocks}, {codeSuffix, safetensors.F32, 16}}
	if q.DoubleQuant = s.NestedBlocksize != 0; q.DoubleQuant {
		parts = []sidecar{
			{absmaxSuffix, safetensors.U8, blocks},
			{codeSuffix, safetensors.F32, 16},
			{nestedSuffix, safetensors.F32, compute.NestedBlocks(blocks)},
			{nestedMapSuffix, safetensors.F32, 256},
		}
	}
	wanted[state.Name] = true
	for _, p := range parts {
		if err := p.check(set, spec.name); err != nil {
			return nil, err
		}
		wanted[spec.name+p.suffix] = true
	}
	return q, q.checkCode(set, spec.name)
}

// stateTensor finds the packed state of a quantised weight, whose name ends with the code book.
func stateTensor(set *safetensors.Set, name string) (safetensors.Tensor, compute.QuantType, bool) {
	for _, code := range []compute.QuantType{compute.NF4, compute.FP4} {
		if t, ok := set.Tensor(name + stateSuffix + code.String()); ok {
			return t, code, true
		}
	}
	return safetensors.Tensor{}, 0, false
}

// parseState reads the JSON, which must describe the weight that config.json asks for.
func (q *prequantized) parseState(t safetensors.Tensor, spec tensorSpec) (s quantState, err error) {
	if t.DType != safetensors.U8 || len(t.Data) > 1<<16 {
		return s, fmt.Errorf("%s%v is no packed state of bitsandbytes, which is a short JSON text as U8", t.DType, t.Shape)
	}
	if err := json.Unmarshal(t.Data, &s); err != nil {
		return s, fmt.Errorf("its JSON: %w", err)
	}
	switch {
	case s.QuantType != q.Type.String():
		return s, fmt.Errorf("quant_type %q does not match the tensor's name", s.QuantType)
	case s.Blocksize != compute.QuantBlock:
		return s, fmt.Errorf("blocksize %d is not read, only %d: quantise the original checkpoint again, with load_in_4bit", s.Blocksize, compute.QuantBlock)
	case !slices.Equal(s.Shape, spec.shape):
		return s, fmt.Errorf("shape %v, but config.json makes it %v", s.Shape, spec.shape)
	case s.NestedBlocksize == 0 && s.NestedOffset == nil:
		return s, nil
	case s.NestedBlocksize != compute.NestedBlock:
		return s, fmt.Errorf("nested_blocksize %d is not read, only %d: quantise the original checkpoint again, with load_in_4bit", s.NestedBlocksize, compute.NestedBlock)
	case s.NestedDType != "float32":
		return s, fmt.Errorf("nested_dtype %q is not read, only float32", s.NestedDType)
	case s.NestedOffset == nil || math.IsInf(float64(float32(*s.NestedOffset)), 0):
		return s, errors.New("nested_offset, the mean of the scales, is missing or beyond float32")
	}
	q.offset = float32(*s.NestedOffset)
	return s, nil
}

// sidecar is a tensor that must lie beside a quantised weight.
type sidecar struct {
	suffix string
	dtype  safetensors.DType
	n      int
}

func (p sidecar) check(set *safetensors.Set, weight string) error {
	t, ok := set.Tensor(weight + p.suffix)
	switch {
	case !ok:
		return fmt.Errorf("tensor %s%s is missing: %s is quantised, and bitsandbytes writes one beside it", weight, p.suffix, weight)
	case t.DType != p.dtype || t.NumElements() != int64(p.n):
		return fmt.Errorf("tensor %s%s is %s%v, but %s needs %d of %s", weight, p.suffix, t.DType, t.Shape, weight, p.n, p.dtype)
	}
	return nil
}

// checkCode compares the stored code book with the device's own.
func (q *prequantized) checkCode(set *safetensors.Set, weight string) error {
	t, _ := set.Tensor(weight + codeSuffix)
	stored, err := safetensors.Float32s(t)
	if err != nil {
		return err
	}
	own := codeBook(q.Type)
	for i, x := range stored {
		if d := math.Abs(float64(x - own[i])); !(d <= 1e-6) { // versions of bitsandbytes differ in the last digit
			return fmt.Errorf("tensor %s: its %s code book has %v at %d, not %v: it was made with another code", t.Name, q.Type, x, i, own[i])
		}
	}
	return nil
}

// codeBook is what bitsandbytes stores as quant_map: FP4 in the order of its bits, not of its values.
func codeBook(t compute.QuantType) [16]float32 {
	if t == compute.NF4 {
		return compute.NF4Code
	}
	book := [16]float32{0, 0.0625, 8, 12, 4, 6, 2, 3}
	for i := range 8 {
		book[i] /= 12
		book[8+i] = -book[i]
	}
	return book
}
