package tokenizer

import (
	"fmt"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// postProcessor adds the tokens that open and close a sequence.
type postProcessor struct {
	prefix, suffix []int32
	trimOffsets    bool // spans leave out the spaces at a token's ends
	addPrefixSpace bool
	explicit       bool // the file itself says which tokens are added, if any
}

// wrap gives a copy of ids with the post-processor's tokens around them.
func (p *postProcessor) wrap(ids []int32) []int32 {
	out := make([]int32, 0, len(p.prefix)+len(ids)+len(p.suffix))
	return append(append(append(out, p.prefix...), ids...), p.suffix...)
}

// wrapSpans does it for spans: those of the added tokens are empty, at the start and the end of the text.
func (p *postProcessor) wrapSpans(spans [][2]int, end int) [][2]int {
	out := make([][2]int, len(p.prefix), len(p.prefix)+len(spans)+len(p.suffix))
	out = append(out, spans...)
	for range p.suffix {
		out = append(out, [2]int{end, end})
	}
	return out
}

// templateItem is {"SpecialToken": {"id": …}} or {"Sequence": {"id": …}}.
type templateItem struct {
	SpecialToken *struct {
		ID string `json:"id"`
	}
	Sequence *struct {
		ID string `json:"id"`
	}
}

// build reads the post_processor of a tokenizer.json into p.
func (p *postProcessor) build(c *component) error {
	if c == nil {
		return nil
	}
	switch c.Type {
	case "Sequence":
		for i := range c.Processors {
			if err := p.build(&c.Processors[i]); err != nil {
				return err
			}
		}
		return nil
	case "ByteLevel":
		p.trimOffsets, p.addPrefixSpace = orTrue(c.TrimOffsets), orTrue(c.AddPrefixSpace)
		return nil
	case "TemplateProcessing":
		p.explicit = true
		return p.template(c)
	case "RobertaProcessing", "BertProcessing":
		p.explicit = true
		if c.Type == "RobertaProcessing" {
			p.trimOffsets, p.addPrefixSpace = orTrue(c.TrimOffsets), orTrue(c.AddPrefixSpace)
		}
		cls, err := pairID(c.Cls)
		if err != nil {
			return fmt.Errorf("post-processor %s: cls: %w", c.Type, err)
		}
		sep, err := pairID(c.Sep)
		if err != nil {
			return fmt.Errorf("post-processor %s: sep: %w", c.Type, err)
		}
		p.prefix, p.suffix = append(p.prefix, cls), append(p.suffix, sep)
		return nil
	}
	return fmt.Errorf("post-processor %q is not supported", c.Type)
}

// pairID reads the id of ["</s>", 2].
func pairID(raw []byte) (int32, error) {
	var pair []jsontext.Value
	var id int32
	if err := json.Unmarshal(raw, &pair); err != nil || len(pair) != 2 {
		return 0, fmt.Errorf("expected [token, id], found %s", raw)
	}
	if err := json.Unmarshal(pair[1], &id); err != nil {
		return 0, fmt.Errorf("expected [token, id]: %w", err)
	}
	return id, nil
}

func (p *postProcessor) template(c *component) error {
	sequences := 0
	for _, item := range c.Single {
		switch {
		case item.Sequence != nil:
			sequences++
		case item.SpecialToken != nil:
			tok, ok := c.SpecialTokens[item.SpecialToken.ID]
			if !ok {
				return fmt.Errorf("post-processor TemplateProcessing: special token %q is not defined", item.SpecialToken.ID)
			}
			if sequences == 0 {
				p.prefix = append(p.prefix, tok.IDs...)
			} else {
				p.suffix = append(p.suffix, tok.IDs...)
			}
		}
	}
	if sequences != 1 {
		return fmt.Errorf("post-processor TemplateProcessing: template names the sequence %d times, not once", sequences)
	}
	return nil
}

// trimSpans takes the spaces off the ends of spans, as the ByteLevel post-processor does: as many characters as the
// token has spaces, but not the one that add_prefix_space put in front.
func (t *Tokenizer) trimSpans(text string, ids []int32, spans [][2]int) {
	for i, id := range ids {
		s := &spans[i]
		token := []rune(t.Token(id))
		if t.isAdded[id] {
			token = []rune(text[s[0]:s[1]])
		}
		lead, trail := 0, 0
		for lead < len(token) && isByteSpace(token[lead]) {
			lead++
		}
		for trail < len(token) && isByteSpace(token[len(token)-1-trail]) {
			trail++
		}
		if lead == 1 && (i == 0 || s[0] == 0) && t.post.addPrefixSpace {
			lead = 0
		}
		for ; lead > 0 && s[0] < s[1]; lead-- {
			_, n := utf8.DecodeRuneInString(text[s[0]:])
			s[0] += n
		}
		for ; trail > 0 && s[1] > s[0]; trail-- {
			_, n := utf8.DecodeLastRuneInString(text[:s[1]])
			s[1] -= n
		}
	}
}

func isByteSpace(r rune) bool { return r == byteRunes[' '] || isSpace(r) }
