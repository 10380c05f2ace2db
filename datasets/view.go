package datasets

import "errors"

// Token is one token of a [View].
type Token struct {
	ID int32
	// Text is the text it covers; the vocabulary's spelling for special tokens
	// and for ids that came without text.
	Text    string
	Span    [2]int // byte range in View.Text; empty for added tokens
	Trained bool
	Special bool
}

// View is a sample made visible: the rendered text and each token's part in it.
type View struct {
	Text   string
	Tokens []Token
	// Trained counts trained tokens; Cut those beyond MaxSeqLength, which are
	// not in Tokens.
	Trained, Cut int
	Sample       Sample
}

// View tokenises one row for the token view. Its errors are *RowError.
func (e *Encoder) View(r Row) (View, error) {
	c, err := e.code(r)
	if err != nil {
		return View{Text: c.text}, err
	}
	v := View{Text: c.text, Trained: c.sample.Trained(), Cut: c.sample.Cut, Sample: c.sample}
	for i, id := range c.sample.Tokens {
		t := Token{ID: id, Span: c.spans[i], Trained: c.sample.Labels[i] != IgnoreIndex, Special: e.Tokenizer.IsSpecial(id)}
		if t.Text = c.text[t.Span[0]:t.Span[1]]; t.Special || t.Text == "" {
			t.Text = e.Tokenizer.Token(id)
		}
		v.Tokens = append(v.Tokens, t)
	}
	return v, nil
}

// Prompt returns the ids to generate from (all before the last answer, with the
// generation prompt) and the answer the row gives: for evaluation on held-out
// rows. A text row is all prompt. Its errors are *RowError.
func (e *Encoder) Prompt(r Row) (ids []int32, reference string, err error) {
	var d document
	l, err := e.read(&r, &d)
	if err != nil {
		return nil, "", r.fail(err, "%v", err)
	}
	if l.format == FormatInputIDs {
		return nil, "", r.fail(nil, "a row of input_ids has no prompt")
	}
	x, err := readExample(&d, l, r.tags(), e.Renderer != nil)
	if err != nil {
		return nil, "", r.fail(err, "%v", err)
	}
	text, reference, err := e.promptText(x, l.format)
	if err != nil {
		return nil, "", r.fail(err, "%v", err)
	}
	ids, _ = e.encodeSpans(text)
	return ids, reference, nil
}

func (e *Encoder) promptText(x example, format Format) (text, reference string, err error) {
	if x.turns == nil {
		if format == FormatText {
			return x.answer, "", nil
		}
		return x.prompt, x.answer, nil
	}
	if e.Renderer == nil {
		return "", "", ErrNoTemplate
	}
	last := len(x.turns) - 1
	for last >= 0 && !x.turns[last].assistant {
		last--
	}
	if last < 0 {
		return "", "", errors.New("it has no answer of the assistant")
	}
	text, _, err = e.Renderer.Render(request(x.turns[:last], x.tools, true))
	return text, x.turns[last].text, err
}
