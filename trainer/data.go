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
	"strings"

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
	warnings          int // of the linter
}

// ErrData marks rows that cannot be trained on; each line of such an error names file and line.
var ErrData = errors.New("rows that cannot be trained on")

// dataError is an ErrData with a text of its own.
type dataError string

func (e dataError) Error() string        { return string(e) }
func (e dataError) Is(target error) bool { return target == ErrData }

func dataErrorf(format string, args ...any) error { return dataError(fmt.Sprintf(format, args...)) }

// readData reads, checks and tokenises all rows. No row is left out silently: an unusable one is an error.
func readData(ctx context.Context, c Config, files *model.Files, progress func(string, int64, int64)) (*corpus, error) {
	encoder, err := newEncoder(c, files)
	if err != nil {
		return nil, err
	}
	reader := rowReader{config: c, encoder: encoder, vocab: files.Config.Vocab, progress: progress}
	train, err := reader.read(ctx, "train_file", c.TrainFile)
	if err != nil {
		return nil, err
	}
	d := &corpus{encoder: encoder, train: train.samples, warnings: train.warnings}
	if len(c.ValidationFile) > 0 {
		validation, err := reader.read(ctx, "validation_file", c.ValidationFile)
		if err != nil {
			return nil, err
		}
		d.validation = validation.samples
		d.warnings += validation.warnings
	} else if c.ValidationSplit > 0 {
		if d.train, d.validation, err = splitRows(d.train, c.ValidationSplit, c.DataSeed); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// newEncoder makes the journey from rows to tokens; the model may have no tokenizer when all rows are ready-made ids.
func newEncoder(c Config, files *model.Files) (*datasets.Encoder, error) {
	if maxSeqLength(c, files.Config) < 2 {
		return nil, faultf(0, "prefix.num_virtual_tokens: %d leave no room in the model's context of %d tokens; give fewer, such as 20",
			c.Prefix.VirtualTokens, files.Config.ContextLength)
	}
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
		return min(c.MaxSeqLength, m.ContextLength-c.prefixTokens())
	}
	return c.MaxSeqLength
}

// prefixTokens is how many positions of the context a prefix takes before a row's first token.
func (c Config) prefixTokens() int {
	if c.Method == MethodPrefix {
		return c.Prefix.VirtualTokens
	}
	return 0
}

// rowReader reads the files of a key of run.yaml.
type rowReader struct {
	config   Config
	encoder  *datasets.Encoder
	vocab    int
	progress func(stage string, done, total int64)
}

// rows are what was read of one key's files.
type rows struct {
	samples  []datasets.Sample
	warnings int // of the linter
}

func (r rowReader) read(ctx context.Context, key string, paths []string) (*rows, error) {
	format, err := datasets.ParseFormat(r.config.Format)
	if err != nil {
		return nil, err
	}
	options := datasets.Options{Format: format, Columns: r.config.Columns.Columns()}
	read := &rows{}
	for _, path := range paths {
		warnings, err := r.lint(ctx, key, path, options)
		if err != nil {
			return nil, err
		}
		read.warnings += warnings
	}
	read.samples, err = datasets.Load(ctx, paths, datasets.LoadOptions{
		Open:     options,
		Encoder:  r.encoder,
		Progress: func(rows, total int) { r.progress("read "+key, int64(rows), int64(total)) },
	})
	if load := (*datasets.LoadError)(nil); errors.As(err, &load) {
		return nil, r.unusable(key, load)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if len(read.samples) == 0 {
		return nil, dataErrorf("%s: %s: no row in it", key, strings.Join(paths, ", "))
	}
	return read, checkIDs(read.samples, key, r.vocab)
}

// lint refuses a file with a finding at error level, naming the first of them, and counts the warnings.
func (r rowReader) lint(ctx context.Context, key, path string, o datasets.Options) (warnings int, err error) {
	file, err := datasets.Open(path, o)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	defer file.Close()
	var lines []string
	summary, err := datasets.Lint(ctx, file, datasets.LintOptions{
		TrainOnInputs: r.config.TrainOnInputs,
		Progress:      func(rows int, _ int64) { r.progress("check "+key, int64(rows), -1) },
	}, func(f datasets.Finding) {
		if f.Level == datasets.LevelError && len(lines) < maxNamedRows {
			lines = append(lines, fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Code, f.Message))
		}
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	if summary.Errors > 0 {
		return 0, listRows(key, lines, summary.Errors)
	}
	return summary.Warnings, nil
}

// unusable lists the rows that cannot be encoded.
func (r rowReader) unusable(key string, load *datasets.LoadError) error {
	lines := make([]string, 0, maxNamedRows)
	for _, row := range load.Rows[:min(maxNamedRows, len(load.Rows))] {
		lines = append(lines, row.Error())
	}
	if _, none := r.encoder.Tokenizer.(noTokenizer); none {
		key += " (the model's folder has no tokenizer.json, so that only rows of input_ids can be used)"
	}
	return listRows(key, lines, load.Total)
}

// listRows names rows, one a line; total counts those that are not named too.
func listRows(key string, lines []string, total int) error {
	if more := total - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more: `lathe data lint` lists them all", more))
	}
	if len(lines) == 1 {
		return dataErrorf("%s: %s", key, lines[0])
	}
	return dataErrorf("%s: %d faults in the rows:\n%s", key, total, strings.Join(lines, "\n"))
}

// checkIDs finds ids that the model has no embedding for.
func checkIDs(samples []datasets.Sample, key string, vocab int) error {
	for _, s := range samples {
		for i, id := range s.Tokens {
			if id < 0 || int(id) >= vocab {
				return dataErrorf("%s: %s:%d: token %d has the id %d, but the model's vocabulary ends at %d: it was tokenised for another model",
					key, s.File, s.Line, i, id, vocab-1)
			}
			if label := s.Labels[i]; label != datasets.IgnoreIndex && (label < 0 || int(label) >= vocab) {
				return dataErrorf("%s: %s:%d: label %d is %d, but the model's vocabulary ends at %d (%d means: not trained)",
					key, s.File, s.Line, i, label, vocab-1, datasets.IgnoreIndex)
			}
		}
	}
	return nil
}

// splitRows takes a share of the rows for validation, the same for the same seed; both keep the file's order.
func splitRows(samples []datasets.Sample, share float64, seed int64) (train, validation []datasets.Sample, err error) {
	n := int(math.Ceil(share * float64(len(samples)))) // as scikit-learn and datasets round
	if n >= len(samples) {
		return nil, nil, dataErrorf("validation_split: %v of %d rows leaves none to train on", share, len(samples))
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
