package model

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"lathe/compute"
)

// NonFinite says where a step first made a number that is none.
type NonFinite struct {
	// Module is the last module with weights on the way there, "model.layers.17.self_attn.v_proj", or the one around it where
	// what was computed has none ("model.layers.17.self_attn"); empty before the first.
	Module string
	// Layer is the block's number, -1 outside of the blocks.
	Layer int
	// What is the value that was not finite: "output", "attention output", "gradient of its input", "gradient of
	// model.layers.0.…".
	What string
	// Index is the first element in the value at fault.
	Index int
	// Seqs are the batch's sequences with such numbers, in order; nil where the value has no rows (a weight's gradient).
	Seqs []int
	// Backward says that the whole forward pass was finite.
	Backward bool
}

// String is one line: "layer 17, self_attn.v_proj: its output", say.
func (f NonFinite) String() string {
	place, what := f.Module, f.What
	if m := blockName.FindStringSubmatch(f.Module); m != nil {
		place = fmt.Sprintf("layer %s, %s", m[1], m[2])
	}
	if place == "" {
		return what
	}
	return place + ": " + what
}

// blockName takes a block's number out of a module's name, in every family's spelling.
var blockName = regexp.MustCompile(`(?:^|\.)(?:layers|h)\.(\d+)\.(.+)$`)

// Diagnose repeats a step's forward and backward pass, as ForwardBackward does it and with the same bits (but for the order of sums where
// that leaves rows out, of which each has a place here), and looks at what every operation leaves. It returns nil where all of it is finite. The gradients are left as they come: a caller zeroes them
// before and after. It is slow, for it waits after each operation; a run needs it once.
func (m *Model) Diagnose(in Input, o StepOptions) (*NonFinite, error) {
	if len(m.Trainable()) == 0 {
		return nil, fmt.Errorf("diagnose: %w", m.nothingTrained())
	}
	in, err := m.check(in, true)
	if err != nil {
		return nil, fmt.Errorf("diagnose: %w", err)
	}
	var found *NonFinite
	o.whole = true
	err = m.inPieces(in, &o, func(piece Input, first int, o *StepOptions) (over bool) {
		t := &tracer{Device: m.dev, names: m.bufferNames(), tokens: len(piece.Tokens), seqs: piece.Seqs, first: first}
		m.lossPass(t, m.work.saved, m.work.scratch, piece, o)
		found = t.found
		return found != nil
	})
	if err != nil {
		return nil, fmt.Errorf("diagnose: %w", err)
	}
	return found, nil
}

// bufferNames names the modules of weights, and the gradients by their tensors.
func (m *Model) bufferNames() map[compute.Buffer]string {
	names := map[compute.Buffer]string{}
	for _, t := range m.tensors {
		names[t.weight.Data] = t.name
	}
	for _, p := range m.Trainable() {
		names[p.Value], names[p.Grad] = p.Name, p.Name
	}
	return names
}

// tracer is a device that looks at what every operation leaves, until something is not finite.
type tracer struct {
	compute.Device
	names    map[compute.Buffer]string // of weights and gradients
	tokens   int
	seqs     []int32
	first    int    // sequences of the batch before these
	at       string // the module whose weights were used last
	backward bool
	found    *NonFinite
}

// weights notes where the pass is, and looks whether a weight itself is no number: the first operation that reads it would
// else be blamed.
func (t *tracer) weights(buffers ...compute.Buffer) {
	for _, b := range buffers {
		name, known := t.names[b]
		if b == nil || !known {
			continue
		}
		t.at = moduleName(name)
		if i, bad := t.bad(b); bad && t.found == nil {
			t.blame("weight "+name, i, nil)
		}
	}
}

// moduleName is a tensor's name without its own part: PEFT's "base_model.model." and "lora_A.weight" too.
func moduleName(tensor string) string {
	name := strings.TrimPrefix(tensor, "base_model.model.")
	for _, end := range []string{".weight", ".bias", ".lora_A", ".lora_B", ".lora_magnitude_vector", ".base_layer"} {
		name = strings.TrimSuffix(name, end)
	}
	return name
}

// bad finds the first NaN or infinity of a float32 buffer.
func (t *tracer) bad(b compute.Buffer) (index int, bad bool) {
	if b == nil || b.DType() != compute.F32 {
		return 0, false
	}
	_, index = t.FirstNonFinite([]compute.Buffer{b})
	return index, index >= 0
}

// rows looks at a value of one row a token.
func (t *tracer) rows(what string, values ...compute.Buffer) {
	for _, b := range values {
		if t.found != nil {
			return
		}
		if i, bad := t.bad(b); bad {
			t.blame(what, i, t.sequences(b))
		}
	}
}

// gradients looks at accumulated gradients of weights.
func (t *tracer) gradients(buffers ...compute.Buffer) {
	for _, b := range buffers {
		if t.found != nil {
			return
		}
		if i, bad := t.bad(b); bad {
			name := t.names[b]
			t.at = moduleName(name)
			t.blame("gradient of "+name, i, nil)
		}
	}
}

// between takes the place to the block's part as a whole, "self_attn" say: what is computed there has no weights of its own.
func (t *tracer) between() {
	if m := blockName.FindStringSubmatchIndex(t.at); m != nil {
		if dot := strings.LastIndexByte(t.at, '.'); dot > m[4] { // never above the block
			t.at = t.at[:dot]
		}
	}
}

func (t *tracer) blame(what string, index int, seqs []int) {
	f := &NonFinite{Module: t.at, Layer: -1, What: what, Index: index, Seqs: seqs, Backward: t.backward}
	if m := blockName.FindStringSubmatch(t.at); m != nil {
		f.Layer, _ = strconv.Atoi(m[1])
	}
	t.found = f
}

// sequences are those with a number that is none in their rows of b.
func (t *tracer) sequences(b compute.Buffer) (seqs []int) {
	if t.tokens == 0 || b.Len()%t.tokens != 0 {
		return nil
	}
	width := b.Len() / t.tokens
	for s := range len(t.seqs) - 1 {
		first, end := int(t.seqs[s]), int(t.seqs[s+1])
		if _, bad := t.bad(b.Slice(first*width, (end-first)*width)); bad {
			seqs = append(seqs, t.first+s)
		}
	}
	return seqs
}

// The operations: what each reads of weights, and what it leaves.

const (
	output    = "output"
	inputGrad = "gradient of its input"
)

func (t *tracer) Embedding(a compute.Embedding) {
	t.at = moduleName(t.names[a.Table]) // a row of the table that no token reads is nobody's fault
	t.Device.Embedding(a)
	t.rows(output, a.Y)
}

func (t *tracer) EmbeddingBackward(a compute.EmbeddingBackward) {
	t.Device.EmbeddingBackward(a)
	t.gradients(a.DTable)
}

func (t *tracer) RMSNorm(a compute.RMSNorm) {
	t.weights(a.W)
	t.Device.RMSNorm(a)
	t.rows(output, a.Y)
}

func (t *tracer) RMSNormBackward(a compute.RMSNormBackward) {
	t.weights(a.W)
	t.Device.RMSNormBackward(a)
	t.rows(inputGrad, a.DX)
	t.gradients(a.DW)
}

func (t *tracer) LayerNorm(a compute.LayerNorm) {
	t.weights(a.W, a.Bias)
	t.Device.LayerNorm(a)
	t.rows(output, a.Y)
}

func (t *tracer) LayerNormBackward(a compute.LayerNormBackward) {
	t.weights(a.W)
	t.Device.LayerNormBackward(a)
	t.rows(inputGrad, a.DX)
	t.gradients(a.DW, a.DBias)
}

func (t *tracer) RoPE(a compute.RoPE) {
	t.between()
	t.Device.RoPE(a)
	t.rows("rotated heads", a.X)
}

func (t *tracer) Linear(a compute.Linear) {
	if a.LowRank != nil {
		t.weights(a.LowRank.V)
	}
	t.weights(a.Bias, a.W.Data)
	t.Device.Linear(a)
	t.rows(output, a.Y)
}

func (t *tracer) LinearBackwardInput(a compute.LinearBackwardInput) {
	t.weights(a.W.Data)
	t.Device.LinearBackwardInput(a)
	t.rows(inputGrad, a.DX)
}

func (t *tracer) LinearBackwardWeight(a compute.LinearBackwardWeight) {
	t.Device.LinearBackwardWeight(a)
	t.gradients(a.DW, a.DBias)
}

func (t *tracer) Attention(a compute.Attention) {
	t.between()
	t.Device.Attention(a)
	t.rows("attention output", a.Out)
}

func (t *tracer) AttentionBackward(a compute.AttentionBackward) {
	t.between()
	t.Device.AttentionBackward(a)
	t.rows("gradient of the attention's queries", a.DQ)
	t.rows("gradient of the attention's keys and values", a.DK, a.DV)
}

func (t *tracer) GatedActivation(a compute.GatedActivation) {
	t.between()
	t.Device.GatedActivation(a)
	t.rows("gated activation", a.Y)
}

func (t *tracer) GatedActivationBackward(a compute.GatedActivationBackward) {
	t.between()
	t.Device.GatedActivationBackward(a)
	t.rows("gradient of the gated activation", a.DGate, a.DUp)
}

func (t *tracer) Activation(a compute.Activation) {
	t.between()
	t.Device.Activation(a)
	t.rows("activation", a.Y)
}

func (t *tracer) ActivationBackward(a compute.ActivationBackward) {
	t.between()
	t.Device.ActivationBackward(a)
	t.rows("gradient of the activation", a.DX)
}

func (t *tracer) Dropout(a compute.Dropout) {
	t.Device.Dropout(a)
	t.rows("dropped-out values", a.Y)
}

func (t *tracer) Add(a compute.Add) {
	t.Device.Add(a)
	t.rows("sum", a.Y)
}

func (t *tracer) RowNorm(a compute.RowNorm) {
	t.weights(a.W.Data)
	t.Device.RowNorm(a)
	if i, bad := t.bad(a.Y); bad && t.found == nil {
		t.blame("lengths of the adapted weight's rows", i, nil)
	}
}

func (t *tracer) ScaleColumns(a compute.ScaleColumns) {
	t.weights(a.S)
	t.Device.ScaleColumns(a)
	t.rows("scaled output", a.Y)
}

func (t *tracer) ScaleColumnsBackward(a compute.ScaleColumnsBackward) {
	t.Device.ScaleColumnsBackward(a)
	t.rows(inputGrad, a.DX)
	t.gradients(a.DS)
}

// LinearCrossEntropy is the end of the forward pass and the beginning of the backward pass.
func (t *tracer) LinearCrossEntropy(a compute.LinearCrossEntropy) {
	t.weights(a.Bias, a.W.Data)
	t.Device.LinearCrossEntropy(a)
	t.rows("log-probabilities", a.LogProbs)
	t.backward = true
	t.rows("gradient of the loss", a.DX)
	t.gradients(a.DW, a.DBias)
}
