package compute

// Every struct below is one operation's arguments. Buffers are F32 unless the comment says otherwise; a buffer that may
// be left out says "or nil".

// Embedding gathers rows: Y[N,C] = Scale · Table[IDs[n], :]. With a table of activations it is a plain row gather.
type Embedding struct {
	Y     Buffer // [N,C]
	Table Buffer // [V,C], F32, BF16 or F16
	IDs   Buffer // I32 [N], each in [0,V): an id outside is an error naming it
	N, C  int
	Scale float32 // 1, or √C for Gemma
}

// EmbeddingBackward adds Scale · DY rows to DTable at IDs, in the order of n.
type EmbeddingBackward struct {
	DTable Buffer // [V,C], accumulated
	DY     Buffer // [N,C]
	IDs    Buffer // I32 [N]
	N, C   int
	Scale  float32
}

// RMSNorm is y = x / √(mean(x²)+Eps) · (W+Offset) over rows of C (Zhang & Sennrich 2019); Offset is 0, or 1 for Gemma.
type RMSNorm struct {
	Y, X   Buffer // [N,C]
	RStd   Buffer // [N] written for the backward pass, or nil
	W      Buffer // [C]
	N, C   int
	Eps    float32
	Offset float32
}

// RMSNormBackward writes (or adds, if Accumulate) DX and accumulates DW.
type RMSNormBackward struct {
	DX, DY, X  Buffer // [N,C]; DX may be DY
	RStd       Buffer // [N]
	W          Buffer // [C]
	DW         Buffer // [C] accumulated, or nil
	N, C       int
	Offset     float32
	Accumulate bool
}

// LayerNorm is y = (x-mean)/√(var+Eps) · W + Bias over rows of C (Ba et al. 2016), var without Bessel's correction.
type LayerNorm struct {
	Y, X       Buffer // [N,C]
	Mean, RStd Buffer // [N] written for the backward pass, or nil
	W          Buffer // [C]
	Bias       Buffer // [C], or nil
	N, C       int
	Eps        float32
}

// LayerNormBackward writes (or adds, if Accumulate) DX and accumulates DW and DBias.
type LayerNormBackward struct {
	DX, DY, X  Buffer // [N,C]; DX may be DY
	Mean, RStd Buffer // [N]
	W          Buffer // [C]
	DW, DBias  Buffer // [C] accumulated, or nil
	N, C       int
	Accumulate bool
}

// RoPE rotates the first Rotary elements of each head in place (Su et al. 2021), in the "rotate half" convention of
// transformers: pairs are (i, i+Rotary/2); Interleaved pairs (2i, 2i+1) instead (GPT-J). Inverse turns back, which is
// the backward pass.
type RoPE struct {
	X           Buffer // [N,H,D]
	Cos, Sin    Buffer // [P,Rotary/2], row p for position p
	Positions   Buffer // I32 [N], each in [0,P)
	N, H, D     int
	Rotary      int
	Interleaved bool
	Inverse     bool
}

// Weight is a linear layer's matrix W [Out,In], as PyTorch's nn.Linear keeps it.
type Weight struct {
	Out, In int
	// Data is F32, BF16 or F16 [Out,In]; with Quant set it is U8 [⌈Out·In/2⌉], the even element in the high nibble.
	Data Buffer
	// Quant holds the type and the scales of a 4-bit weight, nil for a plain one.
	Quant *Quant4
}

// Quant4 holds the block scales of a bitsandbytes 4-bit matrix (Dettmers et al. 2023): one absmax for every Block elements
// of the row-major matrix, either plain (Absmax) or double quantised: absmax[b] = Map[Codes[b]]·Nested[b/256] + Offset.
type Quant4 struct {
	Type   QuantType
	Block  int    // 64
	Absmax Buffer // [blocks], or nil when double quantised
	Codes  Buffer // U8 [blocks], or nil
	Nested Buffer // [⌈blocks/256⌉], or nil
	Map    Buffer // [256], bitsandbytes' signed dynamic map, or nil
	Offset Buffer // [1], or nil
}

// LowRank extends a product by R columns: + Scale · U·Vᵀ, computed in the same pass (LoRA as a K-extension).
type LowRank struct {
	R     int
	U     Buffer // [N,R]
	V     Buffer // forward: [Out,R] (lora_B); backward: [R,In] (lora_A)
	Scale float32
}

// Linear is Y = X·Wᵀ + Bias + LowRank, plus the old Y if Accumulate.
type Linear struct {
	Y          Buffer // [N,Out]
	X          Buffer // [N,In]
	N          int
	W          Weight
	Bias       Buffer   // [Out], or nil
	LowRank    *LowRank // or nil
	Accumulate bool
	Compute    DType // type of the products' operands: F32, or BF16 where Info.MatMul has it; sums are F32
}

// LinearBackwardInput is DX = DY·W + LowRank, plus the old DX if Accumulate. LowRank here is Scale·U[N,R]·V[R,In].
type LinearBackwardInput struct {
	DX         Buffer // [N,In]
	DY         Buffer // [N,Out]
	N          int
	W          Weight
	LowRank    *LowRank // or nil
	Accumulate bool
	Compute    DType
}

// LinearBackwardWeight accumulates DW += Scale·DYᵀ·X and DBias += Σ_n DY.
type LinearBackwardWeight struct {
	DW      Buffer // [Out,In], or nil
	DBias   Buffer // [Out], or nil
	DY      Buffer // [N,Out]
	X       Buffer // [N,In]; may be nil when DW is
	N       int
	Out, In int
	Scale   float32
	Compute DType
}

// Span is one sequence of an attention: its queries are rows QStart … QStart+QLen of Q, its keys rows KStart …
// KStart+KLen of K and V. Query i has position KLen-QLen+i among the keys, so that a KV cache is a longer key run.
type Span struct {
	QStart, QLen, KStart, KLen int
}

// AttentionShape is what forward and backward share. Heads are grouped: query head h reads key head h/(H/KV).
type AttentionShape struct {
	Spans    []Span
	NQ, NK   int     // rows of Q and of K, V
	H, KV, D int     // heads, key-value heads, head size
	Scale    float32 // usually 1/√D
	Window   int     // sliding window: a query sees itself and Window-1 keys before it; 0 is no limit
	Softcap  float32 // Gemma 2: s = Softcap·tanh(s/Softcap); 0 is off
	Alibi    Buffer  // [H] slopes: s = (q·k + bf16(slope·bf16(j)))·Scale for key j of the span, slopes rounded to bf16 already; or nil
	NoCausal bool    // prefix or encoder attention: every query sees all KLen keys
	Prefix   int     // the first Prefix keys of a span are seen by every query (prefix tuning), window or not
	Compute  DType   // type of the products' operands, probabilities among them: F32, or what Info.MatMul has beside it; sums and softmax are F32
}

// Attention is softmax(mask(Q·Kᵀ·Scale))·V, causal, without a T×T matrix (FlashAttention, Dao 2022/2023). A query that
// sees no key gives zeros.
type Attention struct {
	AttentionShape
	Out  Buffer // [NQ,H,D]
	LSE  Buffer // [NQ,H] log-sum-exp of the scores, for the backward pass, or nil
	Q    Buffer // [NQ,H,D]
	K, V Buffer // [NK,KV,D]
}

// AttentionBackward writes DQ, DK and DV (all of them, rows of no span as zeros).
type AttentionBackward struct {
	AttentionShape
	DQ       Buffer // [NQ,H,D]
	DK, DV   Buffer // [NK,KV,D]
	DOut     Buffer // [NQ,H,D]
	Out, LSE Buffer // from the forward pass
	Q, K, V  Buffer
}

// Act names an activation function.
type Act uint8

// The activations; GELU is the exact one (erf), GELUTanh the approximation that Gemma uses.
const (
	SiLU Act = iota
	GELU
	GELUTanh
	ReLU
	Tanh
	LeakyReLU // slope 0.01 below zero, as torch's default
)

// GatedActivation is Y = act(Gate)·Up: SwiGLU with SiLU, GeGLU with GELU (Shazeer 2020).
type GatedActivation struct {
	Y, Gate, Up Buffer // [N] elements each; Y may be Gate or Up
	Act         Act
}

// GatedActivationBackward writes DGate and DUp; DGate may be DY.
type GatedActivationBackward struct {
	DGate, DUp, DY, Gate, Up Buffer
	Act                      Act
}

// Activation is Y = act(X), element by element; Y may be X.
type Activation struct {
	Y, X Buffer
	Act  Act
}

// ActivationBackward is DX = DY·act'(X); DX may be DY.
type ActivationBackward struct {
	DX, DY, X Buffer
	Act       Act
}

// Dropout is Y = Scale·mask(X)/(1-P), plus the old Y if Accumulate. The mask is a pure function of (Seed, Stream, index):
// Philox-4x32-10 (Salmon et al. 2011) with key Seed and counter (index/4, Stream), element kept when the uniform 32-bit
// draw is ≥ P·2³²; the backward pass is the same call on the gradient. P = 0 is a scaled copy.
type Dropout struct {
	Y, X       Buffer
	P          float32
	Scale      float32
	Seed       uint64
	Stream     uint64 // layer, tensor and step folded into one number by the caller
	Accumulate bool
}

// Add is Y = A + Scale·B, element by element; Y may be A or B.
type Add struct {
	Y, A, B Buffer
	Scale   float32
}

// CopyBlocks copies a run of columns out of every group of columns into another matrix of groups: Dst[n,g,DstAt+i] =
// Src[n,g,SrcAt+i] for g < Groups, i < Width. It takes fused projections apart (W_qkv of GPT-NeoX: H groups of [q|k|v]; of
// Falcon 40B: KV groups of [H/KV q|k|v]; of Phi-3: one group) and, the other way round, puts their gradients together.
type CopyBlocks struct {
	Dst              Buffer // [N,Groups,DstWidth]
	Src              Buffer // [N,Groups,SrcWidth]
	N, Groups, Width int
	DstWidth, DstAt  int
	SrcWidth, SrcAt  int
}

// RowNorm is the length of each row of an adapted weight, Y[o] = ‖W[o,:] + (Scale·V·U)[o,:]‖₂ (DoRA, Liu et al. 2024). LowRank
// here is U [R,In] (lora_A) and V [Out,R] (lora_B), or nil.
type RowNorm struct {
	Y       Buffer // [Out]
	W       Weight
	LowRank *LowRank
}

// ScaleColumns is Y = X·diag(S), plus the old Y if Accumulate; Y may be X.
type ScaleColumns struct {
	Y, X       Buffer // [N,C]
	S          Buffer // [C]
	N, C       int
	Accumulate bool
}

// ScaleColumnsBackward writes DX = DY·diag(S) and accumulates DS[c] += Σ_n DY[n,c]·X[n,c]; DX may be DY.
type ScaleColumnsBackward struct {
	DX, DY, X Buffer // [N,C]; DX may be nil
	S         Buffer // [C]
	DS        Buffer // [C] accumulated, or nil
	N, C      int
}

// LinearCrossEntropy is the loss of a causal language model with its head: logits = X·Wᵀ (+ Bias), in chunks of rows and
// for trained rows only, so that no [N,V] matrix exists. The loss itself is the host's sum of -LogProbs.
type LinearCrossEntropy struct {
	X         Buffer // [N,C]
	W         Weight // [V,C]
	Bias      Buffer // [V], or nil
	Labels    Buffer // I32 [N]: the target of row n (already shifted), -100 to ignore
	N         int
	Softcap   float32 // Gemma 2's final_logit_softcapping; 0 is off
	LogProbs  Buffer  // [N] written: ln p(label), 0 where ignored
	DX        Buffer  // [N,C] written: GradScale · ∂(Σ -ln p)/∂X, zero rows where ignored; or nil for no backward
	DW, DBias Buffer  // [V,C], [V] accumulated, or nil
	GradScale float32
	Compute   DType
}

// AdamWTensor is one parameter with its gradient and moments, all [n].
type AdamWTensor struct {
	Param, Grad, M, V Buffer
	WeightDecay       float64
}

// AdamW is one step of decoupled weight decay (Loshchilov & Hutter 2019) over many tensors, in the order of operations of
// torch.optim.AdamW: p -= lr·wd·p; m, v updated; p -= lr/(1-β1ᵗ) · m / (√v/√(1-β2ᵗ) + eps). Gradients are multiplied by
// GradScale first (clipping).
type AdamW struct {
	Tensors               []AdamWTensor
	LR, Beta1, Beta2, Eps float64
	Step                  int // t, from 1
	GradScale             float32
}

// AdamW8Block is the number of elements of an 8-bit moment that share a scale: bitsandbytes' default.
const AdamW8Block = 256

// AdamW8Tensor is one parameter [n] with its gradient and its moments as 8-bit codes in blocks of AdamW8Block.
type AdamW8Tensor struct {
	Param, Grad      Buffer // F32 [n]
	M, V             Buffer // U8 [n]: codes into AdamW8.Signed and AdamW8.Unsigned
	MAbsmax, VAbsmax Buffer // F32 [⌈n/AdamW8Block⌉]
	WeightDecay      float64
}

// AdamW8 is one step of bitsandbytes' blockwise 8-bit AdamW (Dettmers et al. 2022), in the order of operations of its CPU
// backend: moments decoded, m, v updated, p -= lr·wd·p, p -= lr/(1-β1ᵗ) · m / (√v/√(1-β2ᵗ) + eps), moments coded again by
// its table of 65536 points (CUDA's kernel searches the nearest code itself and keeps m's sign). Moments of zero bytes and
// zero scales are the start. Whoever calls decides what is kept in 8 bits: bitsandbytes gives tensors of fewer than 4096
// elements (min_8bit_size) to AdamW instead.
type AdamW8 struct {
	Tensors               []AdamW8Tensor
	Signed, Unsigned      Buffer // F32 [256], ascending: the dynamic maps of the first and of the second moments
	LR, Beta1, Beta2, Eps float64
	Step                  int // t, from 1
	GradScale             float32
}
