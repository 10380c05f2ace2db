package datasets

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Sample is one tokenised row.
type Sample struct {
	// Tokens [T] are the ids, Labels [T] the same where trained, else -100.
	// Labels are aligned with Tokens as Hugging Face's: a [Batch] shifts them.
	Tokens, Labels []int32
	File           string
	Line           int // from 1
	Row            int // from 0, in File
	// Cut is how many tokens were cut off at the right by MaxSeqLength,
	// CutTrained how many of these would have been trained.
	Cut, CutTrained int
	// EOSTrained reports whether the end of the last answer (EOS or the
	// template's end-of-turn token) is trained.
	EOSTrained bool
}

// Trained returns how many labels count for the loss, after the shift.
func (s Sample) Trained() int {
	n := 0
	for i := 1; i < len(s.Labels); i++ {
		if s.Labels[i] != IgnoreIndex {
			n++
		}
	}
	return n
}

// Encoder turns rows into samples. It may be used by several goroutines when
// its Tokenizer and Renderer may.
type Encoder struct {
	Tokenizer Tokenizer
	Renderer  Renderer // nil: the model has no chat template
	// MaxSeqLength truncates at the right; 0 is no limit.
	MaxSeqLength int
	// TrainOnInputs trains on every token, not on the answers alone.
	TrainOnInputs bool
	// Columns, when not zero, replaces the Columns the file was opened with.
	Columns Columns
}

// Encode tokenises one row. Its errors are *RowError.
//
// Conversations (messages, sharegpt, alpaca, pairs of message lists) go through
// the chat template; alpaca without one has the Stanford prompt; prompt and
// completion are their strings and EOS; of text all is trained. The whole text
// is tokenised at once and masked by byte ranges, so that no token boundary is
// forced between prompt and answer.
func (e *Encoder) Encode(r Row) (Sample, error) {
	c, err := e.code(r)
	return c.sample, err
}

// coded is a sample with the text that its tokens cover.
type coded struct {
	sample Sample
	text   string
	spans  [][2]int // of sample.Tokens
}

// read parses the row, with the Encoder's columns when it has some.
func (e *Encoder) read(r *Row, d *document) (layout, error) {
	if e.Columns != (Columns{}) {
		o := Options{Columns: e.Columns}
		if r.options != nil {
			o.Format, o.Tags = r.options.Format, r.options.Tags
		}
		r.options = &o
	}
	l := r.detect(d)
	if r.Problem != "" {
		return l, errors.New(r.Problem)
	}
	if !utf8.Valid(r.Raw) {
		return l, fmt.Errorf("not UTF-8 at byte %d", invalidAt(r.Raw)+1)
	}
	return l, nil
}

// invalidAt returns the offset of the first byte that is not UTF-8.
func invalidAt(p []byte) int {
	for i := 0; i < len(p); {
		c, size := utf8.DecodeRune(p[i:])
		if c == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return len(p)
}

func (e *Encoder) code(r Row) (coded, error) {
	var d document
	l, err := e.read(&r, &d)
	if err != nil {
		return coded{}, r.fail(err, "%v", err)
	}
	return e.codeDocument(r, &d, l)
}

// codeDocument encodes a row that is parsed already.
func (e *Encoder) codeDocument(r Row, d *document, l layout) (coded, error) {
	c := coded{sample: Sample{File: r.File, Line: r.Line, Row: r.Index}}
	var err error
	if l.format == FormatInputIDs {
		err = e.ready(d, l, &c)
	} else {
		err = e.tokenise(d, l, r.tags(), &c)
	}
	if err != nil {
		return c, r.fail(err, "%v", err)
	}
	return c, nil
}

// tokenise renders, encodes, masks and truncates.
func (e *Encoder) tokenise(d *document, l layout, tags *Tags, c *coded) error {
	x, err := readExample(d, l, tags, e.Renderer != nil)
	if err != nil {
		return err
	}
	var trained [][2]int
	ends := true // the text ends with EOS
	if x.turns != nil {
		ends = false
		if c.text, trained, err = e.render(x); err != nil {
			return err
		}
	} else {
		c.text = x.prompt + x.answer
		trained = [][2]int{{len(x.prompt), len(c.text)}}
	}
	ids, spans := e.encodeSpans(c.text)
	mask := maskSpans(e.Tokenizer, c.text, ids, spans, trained)
	if eos := e.Tokenizer.EOS(); ends && eos >= 0 {
		if n := len(ids); n == 0 || ids[n-1] != eos {
			ids, spans, mask = append(ids, eos), append(spans, [2]int{len(c.text), len(c.text)}), append(mask, true)
		}
		mask[len(ids)-1] = true
	}
	e.finish(c, ids, spans, mask)
	return nil
}

// render goes through the chat template. The trained ranges are the assistant's
// turns that want to be trained.
func (e *Encoder) render(x example) (text string, trained [][2]int, err error) {
	if e.Renderer == nil {
		return "", nil, fmt.Errorf("%w, and rows of messages need one: take a model that has it, or rows of prompt and completion", ErrNoTemplate)
	}
	text, spans, err := e.Renderer.Render(request(x.turns, x.tools, false))
	if err != nil {
		return "", nil, fmt.Errorf("render the chat template: %w", err)
	}
	var answers []exampleTurn
	for _, t := range x.turns {
		if t.assistant {
			answers = append(answers, t)
		}
	}
	for i, span := range spans {
		switch {
		case span[0] < 0 || span[1] < span[0] || span[1] > len(text):
			return "", nil, fmt.Errorf("render the chat template: range %v of the assistant is outside of the text", span)
		case len(spans) != len(answers) || answers[i].trained:
			trained = append(trained, span)
		}
	}
	if len(spans) != len(answers) {
		for i, t := range answers {
			if !t.trained {
				return "", nil, fmt.Errorf("answer %d is not to be trained, but the template renders %d answers as %d: it cannot be told from the others",
					i, len(answers), len(spans))
			}
		}
	}
	return text, trained, nil
}

// encodeSpans encodes with the tokens the tokenizer adds, without its EOS, and
// with one BOS where a template wrote one already.
func (e *Encoder) encodeSpans(text string) ([]int32, [][2]int) {
	ids, spans := e.Tokenizer.EncodeSpans(text, true)
	if bos := e.Tokenizer.BOS(); bos >= 0 && len(ids) > 1 && ids[0] == bos && ids[1] == bos {
		ids, spans = ids[1:], spans[1:]
	}
	if n := len(ids); n > 0 && ids[n-1] == e.Tokenizer.EOS() && spans[n-1][0] == spans[n-1][1] {
		ids, spans = ids[:n-1], spans[:n-1]
	}
	return ids, spans
}

// finish truncates and sets the labels.
func (e *Encoder) finish(c *coded, ids []int32, spans [][2]int, mask []bool) {
	s := &c.sample
	if keep := e.MaxSeqLength; keep > 0 && len(ids) > keep {
		s.Cut = len(ids) - keep
		for _, trained := range mask[keep:] {
			if trained || e.TrainOnInputs {
				s.CutTrained++
			}
		}
		ids, spans, mask = ids[:keep], spans[:min(keep, len(spans))], mask[:keep]
	}
	s.Tokens, c.spans = ids, spans
	s.Labels = make([]int32, len(ids))
	for i, id := range ids {
		s.Labels[i] = IgnoreIndex
		if mask[i] {
			s.EOSTrained = e.Tokenizer.IsSpecial(id) || id == e.Tokenizer.EOS()
		}
		if mask[i] || e.TrainOnInputs {
			s.Labels[i] = id
		}
	}
}

// ready takes input_ids and labels as they are.
func (e *Encoder) ready(d *document, l layout, c *coded) error {
	vocabulary := e.Tokenizer.VocabSize()
	ids, err := readIDs(d, l.ids, "input_ids", vocabulary, false)
	if err != nil {
		return err
	}
	labels := ids
	if kind := d.kind(l.labels); kind != 0 && kind != 'n' {
		if labels, err = readIDs(d, l.labels, "labels", vocabulary, true); err != nil {
			return err
		}
	}
	if len(labels) != len(ids) {
		return fmt.Errorf("it has %d input_ids and %d labels: there must be a label for each (-100 where none is trained)", len(ids), len(labels))
	}
	s := &c.sample
	if keep := e.MaxSeqLength; keep > 0 && len(ids) > keep {
		s.Cut = len(ids) - keep
		s.CutTrained = Sample{Labels: labels}.Trained() - Sample{Labels: labels[:keep]}.Trained()
		ids, labels = ids[:keep], labels[:keep]
	}
	s.Tokens, s.Labels = ids, labels
	for _, label := range labels {
		if label != IgnoreIndex {
			s.EOSTrained = e.Tokenizer.IsSpecial(label) || label == e.Tokenizer.EOS()
		}
	}
	c.spans = make([][2]int, len(ids))
	return nil
}

// readIDs reads a list of token ids below vocabulary; labels may be -100 too.
func readIDs(d *document, n int32, name string, vocabulary int, labels bool) ([]int32, error) {
	if d.kind(n) != '[' {
		return nil, fmt.Errorf("%s is %s, not a list of token ids", name, kindName(d.kind(n)))
	}
	ids := make([]int32, 0, d.nodes[n].children)
	for c := range d.all(n) {
		id, err := strconv.ParseInt(string(d.value(c)), 10, 32)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s[%d] is %s, not a token id", name, len(ids), short(d.value(c)))
		case labels && int32(id) == IgnoreIndex:
		case id < 0 || int(id) >= vocabulary:
			return nil, fmt.Errorf("%s[%d] is %d: the model's vocabulary ends at %d (were the ids made by another tokenizer?)",
				name, len(ids), id, vocabulary-1)
		}
		ids = append(ids, int32(id))
	}
	return ids, nil
}

// short is a raw value cut to fit in a message.
func short(value []byte) string { return oneLine(40, strings.ToValidUTF8(string(value), "�")) }
