package compute

// Logits that LinearCrossEntropy holds at once: enough rows for products at full speed, bounded for large vocabularies.
const (
	logitsMinRows = 64
	logitsMaxRows = 1024
	logitsTile    = 128 // rows of a product's tile on a GPU: two more, of 130, would be another tile for each chunk
)

// LossRows is the number of rows of a chunk of LinearCrossEntropy, where so many are trained, the vocabulary has v words and the device
// wants to hold about so many bytes of logits.
func LossRows(trained, v, bytes int) int {
	rows := max(logitsMinRows, min(logitsMaxRows, bytes/(4*max(v, 1))))
	if rows > logitsTile {
		rows -= rows % logitsTile
	}
	return min(trained, rows)
}

// LossBytes is the workspace of a chunk.
func LossBytes(rows, v, c int) int64 {
	return max(1, lossPart(rows*v)+lossPart(rows*c)+3*lossPart(rows))
}

// lossPart is the place of n elements of four bytes, aligned for any device.
func lossPart(n int) int64 { return (4*int64(n) + 255) / 256 * 256 }

// LossSpace is the workspace of a chunk, laid out.
type LossSpace struct {
	Logits   Buffer // [rows,V]; becomes their gradient
	X        Buffer // [rows,C]: the rows that are trained; becomes their gradient
	LogProbs Buffer // [rows]
	Rows     Buffer // I32 [rows]
	Labels   Buffer // I32 [rows]
}

// NewLossSpace lays out LossBytes of memory.
func NewLossSpace(mem Buffer, rows, v, c int) (s LossSpace) {
	var at int64
	take := func(t DType, n int) Buffer {
		b := mem.Slice(int(at), 4*n).As(t)
		at += lossPart(n)
		return b
	}
	s.Logits, s.X, s.LogProbs = take(F32, rows*v), take(F32, rows*c), take(F32, rows)
	s.Rows, s.Labels = take(I32, rows), take(I32, rows)
	return s
}

// ChunkedLoss is LinearCrossEntropy made of a device's other operations and one of its own. Trained rows are gathered, so that
// ignored ones cost nothing, and go through the head in chunks; a chunk's logits become their gradients in place.
// Labels are a's, on the host, rows the TrainedRows of them; s is for a chunk's; softmax turns the logits of s's first n rows into
// log-probabilities of the labels and, where a wants a gradient, into GradScale·∂(Σ -ln p)/∂logits.
func ChunkedLoss(d Device, a LinearCrossEntropy, labels, rows []int32, s LossSpace, softmax func(s LossSpace, n int)) {
	d.Zero(a.LogProbs)
	if a.DX != nil {
		d.Zero(a.DX)
	}
	for chunk := s.LogProbs.Len(); len(rows) > 0; rows = rows[min(chunk, len(rows)):] {
		lossChunk(d, a, rows[:min(chunk, len(rows))], labels, s, softmax)
	}
}

// TrainedRows are the places of the labels that are not ignored.
func TrainedRows(labels []int32) []int32 {
	var rows []int32
	for n, label := range labels {
		if label >= 0 {
			rows = append(rows, int32(n))
		}
	}
	return rows
}

// lossChunk does the rows that fit the workspace.
func lossChunk(d Device, a LinearCrossEntropy, rows, labels []int32, s LossSpace, softmax func(LossSpace, int)) {
	n, v, c := len(rows), a.W.Out, a.W.In
	targets := make([]int32, n)
	for i, row := range rows {
		targets[i] = labels[row]
	}
	s = LossSpace{
		Logits: s.Logits.Slice(0, n*v), X: s.X.Slice(0, n*c), LogProbs: s.LogProbs.Slice(0, n),
		Rows: s.Rows.Slice(0, n), Labels: s.Labels.Slice(0, n),
	}
	Upload(d, s.Rows, rows)
	Upload(d, s.Labels, targets)
	d.Embedding(Embedding{Y: s.X, Table: a.X, IDs: s.Rows, N: n, C: c, Scale: 1})
	d.Linear(Linear{Y: s.Logits, X: s.X, N: n, W: a.W, Bias: a.Bias, Compute: a.Compute})
	softmax(s, n)
	d.EmbeddingBackward(EmbeddingBackward{DTable: a.LogProbs, DY: s.LogProbs, IDs: s.Rows, N: n, C: 1, Scale: 1})
	if a.DW != nil || a.DBias != nil {
		d.LinearBackwardWeight(LinearBackwardWeight{
			DW: a.DW, DBias: a.DBias, DY: s.Logits, X: s.X, N: n, Out: v, In: c, Scale: 1, Compute: a.Compute,
		})
	}
	if a.DX != nil { // the gathered rows are done with: their place takes the gradient
		d.LinearBackwardInput(LinearBackwardInput{DX: s.X, DY: s.Logits, N: n, W: a.W, Compute: a.Compute})
		d.EmbeddingBackward(EmbeddingBackward{DTable: a.DX, DY: s.X, IDs: s.Rows, N: n, C: c, Scale: 1})
	}
}
