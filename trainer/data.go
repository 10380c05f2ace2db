package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"lathe/compute"
	"lathe/datasets"
	"lathe/model"
	"lathe/model/template"
	"lathe/model/tokenizer"
)

// corpus is a run's data, tokenised.
type corpus struct {
	encoder           *datasets.Encoder
	train, validation []datasets.Sample
}

// ErrData marks rows that cannot be trained on; each line of such an error names file and line.
var ErrData = errors.New("data")

// readData reads, checks and tokenises all rows. No row is left out silently: an unusable one is an error.
func readData(ctx context.Context, c Config, files *model.Files, progress func(string, int64, int64)) (*corpus, error) {
	encoder, err := newEncoder(c, files)
	if err != nil {
		return nil, err
	}
	d := &corpus{encoder: encoder}
	if d.train, err = readRows(ctx, c, encoder, "train_file", c.TrainFile, files.Config.Vocab, progress); err != nil {
		return nil, err
	}
	if len(c.ValidationFile) > 0 {
		if d.validation, err = readRows(ctx, c, encoder, "validation_file", c.ValidationFile, files.Config.Vocab, progress); err != nil {
			return nil, err
		}
	} else if c.ValidationSplit > 0 {
		if d.train, d.validation, err = splitRows(d.train, c.ValidationSplit, c.DataSeed); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// newEncoder makes the journey from rows to tokens; the model may have no tokenizer when all rows are ready-made ids.
func newEncoder(c Config, files *model.Files) (*datasets.Encoder, error) {
	e := &datasets.Encoder{MaxSeqLength: maxSeqLength(c, files.Config), TrainOnInputs: c.TrainOnInputs, Columns: c.Columns.Columns()}
	e.Tokenizer = noTokenizer{vocab: files.Config.Vocab}
	t, err := files.Tokenizer()
	switch {
	case err == nil:
		e.Tokenizer = modelTokenizer{t, files.Config.Vocab}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("model_name_or_path: %w", err)
	}
	renderer, err := files.Template()
	switch {
	case err == nil:
		e.Renderer = renderer
	case !errors.Is(err, template.ErrNone):
		return nil, fmt.Errorf("model_name_or_path: %w", err)
	}
	return e, nil
}

// modelTokenizer has the vocabulary of the model's embedding, which may be padded beyond the tokenizer's.
type modelTokenizer struct {
	*tokenizer.Tokenizer
	vocab int
}

func (t modelTokenizer) VocabSize() int { return t.vocab }

// noTokenizer stands in for a model without tokenizer.json: ready-made ids pass, text has no token.
type noTokenizer struct{ vocab int }

func (noTokenizer) Encode(string, bool) []int32                  { return nil }
func (noTokenizer) EncodeSpans(string, bool) ([]int32, [][2]int) { return nil, nil }
func (noTokenizer) EOS() int32                                   { return -1 }
func (noTokenizer) BOS() int32                                   { return -1 }
func (noTokenizer) IsSpecial(int32) bool                         { return false }
func (noTokenizer) Token(int32) string                           { return "" }
func (t noTokenizer) VocabSize() int                             { return t.vocab }

// maxSeqLength is max_seq_length, or the model's context where that is shorter.
func maxSeqLength(c Config, m model.Config) int {
	if m.ContextLength > 0 {
		return min(c.MaxSeqLength, m.ContextLength)
	}
	return c.MaxSeqLength
}

func readRows(ctx context.Context, c Config, e *datasets.Encoder, key string, paths []string, vocab int, progress func(string, int64, int64)) ([]datasets.Sample, error) {
	format, err := datasets.ParseFormat(c.Format)
	if err != nil {
		return nil, err
	}
	samples, err := datasets.Load(ctx, paths, datasets.LoadOptions{
		Open:     datasets.Options{Format: format, Columns: c.Columns.Columns()},
		Encoder:  e,
		Progress: func(rows, total int) { progress("read "+key, int64(rows), int64(total)) },
	})
	if load := (*datasets.LoadError)(nil); errors.As(err, &load) {
		hint := ""
		if _, none := e.Tokenizer.(noTokenizer); none {
			hint = " (the model's folder has no tokenizer.json, so that only rows of input_ids can be used)"
		}
		return nil, fmt.Errorf("%w: %s%s: %w", ErrData, key, hint, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if len(samples) == 0 {
		return nil, fmt.Errorf("%w: %s: %v holds no row", ErrData, key, paths)
	}
	return samples, checkIDs(samples, key, vocab)
}

// checkIDs finds ids that the model has no embedding for.
func checkIDs(samples []datasets.Sample, key string, vocab int) error {
	for _, s := range samples {
		for i, id := range s.Tokens {
			if id < 0 || int(id) >= vocab {
				return fmt.Errorf("%w: %s: %s:%d: token %d has the id %d, but the model's vocabulary ends at %d: it was tokenised for another model",
					ErrData, key, s.File, s.Line, i, id, vocab-1)
			}
			if label := s.Labels[i]; label != datasets.IgnoreIndex && (label < 0 || int(label) >= vocab) {
				return fmt.Errorf("%w: %s: %s:%d: label %d is %d, but the model's vocabulary ends at %d (%d means: not trained)",
					ErrData, key, s.File, s.Line, i, label, vocab-1, datasets.IgnoreIndex)
			}
		}
	}
	return nil
}

// splitRows takes a share of the rows for validation, the same for the same seed; both keep the file's order.
func splitRows(samples []datasets.Sample, share float64, seed int64) (train, validation []datasets.Sample, err error) {
	n := int(math.Ceil(share * float64(len(samples)))) // as scikit-learn and datasets round
	if n >= len(samples) {
		return nil, nil, fmt.Errorf("%w: validation_split: %v of %d rows leaves none to train on", ErrData, share, len(samples))
	}
	order := make([]int, len(samples))
	for i := range order {
		order[i] = i
	}
	key := func(i int) uint64 { // a hash of seed and row: the order of SplitMix64's finaliser
		z := uint64(seed)*0x9e3779b97f4a7c15 + uint64(i)*0xd1342543de82ef95 + 1
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch ka, kb := key(a), key(b); {
		case ka < kb:
			return -1
		case ka > kb:
			return 1
		}
		return 0
	})
	held := make([]bool, len(samples))
	for _, i := range order[:n] {
		held[i] = true
	}
	for i, s := range samples {
		if held[i] {
			validation = append(validation, s)
		} else {
			train = append(train, s)
		}
	}
	return train, validation, nil
}

// fingerprints tell whether a resume has the data and the model of the run it goes on with.
type fingerprints struct {
	Train      string `json:"train"`
	Validation string `json:"validation,omitempty"`
	Model      string `json:"model"`
}

// fingerprintSamples hashes what training sees of the rows: tokens, labels and order, not where they came from.
func fingerprintSamples(samples []datasets.Sample) string {
	if len(samples) == 0 {
		return ""
	}
	h := sha256.New()
	var length [8]byte
	for _, s := range samples {
		binary.LittleEndian.PutUint64(length[:], uint64(len(s.Tokens)))
		h.Write(length[:])
		h.Write(compute.Bytes(s.Tokens))
		h.Write(compute.Bytes(s.Labels))
	}
	return hex.EncodeToString(h.Sum(nil))
}
