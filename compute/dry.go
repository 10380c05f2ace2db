package compute

// Dry is a device without memory: it counts what is allocated, workspace included, and computes nothing. Running the real
// step on it tells how much memory that step takes, so the memory plan is the program itself and cannot drift from it.
type Dry struct {
	rule       WorkspaceRule
	workspace  Workspace
	used, peak int64
}

// NewDry returns a dry device whose operations need no workspace.
func NewDry() *Dry { return &Dry{} }

// NewDryLike returns a dry device whose operations need the workspace that another device's do (Info.Workspace), or none
// where the rule is nil.
func NewDryLike(rule WorkspaceRule) *Dry { return &Dry{rule: rule} }

type dryBuffer struct {
	View
	dev  *Dry
	root bool
}

func (b *dryBuffer) Slice(off, n int) Buffer { return &dryBuffer{View: b.Part(off, n), dev: b.dev} }

func (b *dryBuffer) As(t DType) Buffer { return &dryBuffer{View: b.Retyped(t), dev: b.dev} }

func (b *dryBuffer) Free() {
	if b.root {
		b.dev.used -= ByteLen(b)
		b.root = false
	}
}

// Info names the device "dry".
func (d *Dry) Info() Info {
	return Info{Name: "dry run", Kind: "dry", MatMul: []DType{F32, BF16, F16}, Workspace: d.rule}
}

// Memory is the sum of what would be allocated.
func (d *Dry) Memory() Memory { return Memory{Used: d.used, Peak: d.peak} }

// ResetPeak sets the peak to what is in use.
func (d *Dry) ResetPeak() { d.peak = d.used }

// Alloc never fails.
func (d *Dry) Alloc(t DType, n int) (Buffer, error) {
	b := &dryBuffer{View: NewView(t, n, 0), dev: d, root: true}
	d.take(ByteLen(b))
	return b, nil
}

func (d *Dry) take(bytes int64) {
	d.used += bytes
	d.peak = max(d.peak, d.used)
}

// Reserve never fails.
func (d *Dry) Reserve(w Workspace) error {
	before := d.workspace.Bytes()
	d.workspace = d.workspace.Max(w)
	d.take(d.workspace.Bytes() - before)
	return nil
}

// Workspace is what was reserved or has been needed so far.
func (d *Dry) Workspace() Workspace { return d.workspace }

// run grows the workspace to what an operation needs.
func (d *Dry) run(operation any) {
	if d.rule != nil {
		_ = d.Reserve(d.rule.Workspace(operation)) // which never fails
	}
}

// Operations do nothing, which is the point, beyond asking for their workspace.

func (d *Dry) Embedding(a Embedding)                             { d.run(a) }
func (d *Dry) EmbeddingBackward(a EmbeddingBackward)             { d.run(a) }
func (d *Dry) RMSNorm(a RMSNorm)                                 { d.run(a) }
func (d *Dry) RMSNormBackward(a RMSNormBackward)                 { d.run(a) }
func (d *Dry) LayerNorm(a LayerNorm)                             { d.run(a) }
func (d *Dry) LayerNormBackward(a LayerNormBackward)             { d.run(a) }
func (d *Dry) RoPE(a RoPE)                                       { d.run(a) }
func (d *Dry) Linear(a Linear)                                   { d.run(a) }
func (d *Dry) LinearBackwardInput(a LinearBackwardInput)         { d.run(a) }
func (d *Dry) LinearBackwardWeight(a LinearBackwardWeight)       { d.run(a) }
func (d *Dry) Attention(a Attention)                             { d.run(a) }
func (d *Dry) AttentionBackward(a AttentionBackward)             { d.run(a) }
func (d *Dry) GatedActivation(a GatedActivation)                 { d.run(a) }
func (d *Dry) GatedActivationBackward(a GatedActivationBackward) { d.run(a) }
func (d *Dry) Activation(a Activation)                           { d.run(a) }
func (d *Dry) ActivationBackward(a ActivationBackward)           { d.run(a) }
func (d *Dry) Dropout(a Dropout)                                 { d.run(a) }
func (d *Dry) Add(a Add)                                         { d.run(a) }
func (d *Dry) CopyBlocks(a CopyBlocks)                           { d.run(a) }
func (d *Dry) RowNorm(a RowNorm)                                 { d.run(a) }
func (d *Dry) ScaleColumns(a ScaleColumns)                       { d.run(a) }
func (d *Dry) ScaleColumnsBackward(a ScaleColumnsBackward)       { d.run(a) }
func (d *Dry) AdamW8(a AdamW8)                                   { d.run(a) }
func (d *Dry) LinearCrossEntropy(a LinearCrossEntropy)           { d.run(a) }
func (d *Dry) Quantize4(dst Weight, _ Buffer)                    { d.run(dst) }
func (d *Dry) AdamW(a AdamW)                                     { d.run(a) }
func (d *Dry) Dequantize4(Buffer, Weight)                        {}
func (d *Dry) GlobalNorm([]Buffer) float64                       { return 0 }
func (d *Dry) FirstNonFinite([]Buffer) (buffer, index int)       { return -1, -1 }
func (d *Dry) Upload(Buffer, []byte)                             {}
func (d *Dry) Download([]byte, Buffer)                           {}
func (d *Dry) Copy(Buffer, Buffer)                               {}
func (d *Dry) Cast(Buffer, Buffer)                               {}
func (d *Dry) Zero(Buffer)                                       {}
func (d *Dry) Sync() error                                       { return nil }
func (d *Dry) Close() error                                      { return nil }

var _ Device = (*Dry)(nil)
