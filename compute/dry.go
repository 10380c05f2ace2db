package compute

import "fmt"

// Dry is a device without memory: it counts what is allocated and computes nothing. Running the real step on it tells how
// much memory that step takes, so the memory plan is the program itself and cannot drift from it.
type Dry struct {
	used, peak int64
}

// NewDry returns a dry device.
func NewDry() *Dry { return &Dry{} }

type dryBuffer struct {
	dev  *Dry
	t    DType
	n    int
	root bool
}

func (b *dryBuffer) DType() DType { return b.t }
func (b *dryBuffer) Len() int     { return b.n }

func (b *dryBuffer) Slice(off, n int) Buffer {
	if off < 0 || n < 0 || off+n > b.n {
		panic(fmt.Sprintf("slice [%d:%d] of a buffer of %d elements", off, off+n, b.n))
	}
	return &dryBuffer{dev: b.dev, t: b.t, n: n}
}

func (b *dryBuffer) As(t DType) Buffer {
	bytes := b.n * b.t.Size()
	if bytes%t.Size() != 0 {
		panic(fmt.Sprintf("%d bytes are no whole number of %s", bytes, t))
	}
	return &dryBuffer{dev: b.dev, t: t, n: bytes / t.Size()}
}

func (b *dryBuffer) Free() {
	if b.root {
		b.dev.used -= ByteLen(b)
		b.root = false
	}
}

// Info names the device "dry".
func (d *Dry) Info() Info { return Info{Name: "dry run", Kind: "dry", MatMul: []DType{F32, BF16, F16}} }

// Memory is the sum of what would be allocated.
func (d *Dry) Memory() Memory { return Memory{Used: d.used, Peak: d.peak} }

// ResetPeak sets the peak to what is in use.
func (d *Dry) ResetPeak() { d.peak = d.used }

// Alloc never fails.
func (d *Dry) Alloc(t DType, n int) (Buffer, error) {
	b := &dryBuffer{dev: d, t: t, n: n, root: true}
	d.used += ByteLen(b)
	d.peak = max(d.peak, d.used)
	return b, nil
}

// The rest does nothing, which is the point.

func (d *Dry) Upload(Buffer, []byte)                           {}
func (d *Dry) Download([]byte, Buffer)                         {}
func (d *Dry) Copy(Buffer, Buffer)                             {}
func (d *Dry) Cast(Buffer, Buffer)                             {}
func (d *Dry) Zero(Buffer)                                     {}
func (d *Dry) Sync() error                                     { return nil }
func (d *Dry) Close() error                                    { return nil }
func (d *Dry) Embedding(Embedding)                             {}
func (d *Dry) EmbeddingBackward(EmbeddingBackward)             {}
func (d *Dry) RMSNorm(RMSNorm)                                 {}
func (d *Dry) RMSNormBackward(RMSNormBackward)                 {}
func (d *Dry) LayerNorm(LayerNorm)                             {}
func (d *Dry) LayerNormBackward(LayerNormBackward)             {}
func (d *Dry) RoPE(RoPE)                                       {}
func (d *Dry) Linear(Linear)                                   {}
func (d *Dry) LinearBackwardInput(LinearBackwardInput)         {}
func (d *Dry) LinearBackwardWeight(LinearBackwardWeight)       {}
func (d *Dry) Attention(Attention)                             {}
func (d *Dry) AttentionBackward(AttentionBackward)             {}
func (d *Dry) GatedActivation(GatedActivation)                 {}
func (d *Dry) GatedActivationBackward(GatedActivationBackward) {}
func (d *Dry) Activation(Activation)                           {}
func (d *Dry) ActivationBackward(ActivationBackward)           {}
func (d *Dry) Dropout(Dropout)                                 {}
func (d *Dry) Add(Add)                                         {}
func (d *Dry) LinearCrossEntropy(LinearCrossEntropy)           {}
func (d *Dry) QuantizeNF4(Weight, Buffer)                      {}
func (d *Dry) DequantizeNF4(Buffer, Weight)                    {}
func (d *Dry) AdamW(AdamW)                                     {}
func (d *Dry) GlobalNorm([]Buffer) float64                     { return 0 }
func (d *Dry) FirstNonFinite([]Buffer) (buffer, index int)     { return -1, -1 }

var _ Device = (*Dry)(nil)
