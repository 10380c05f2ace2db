package tokenizer

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder turns a list of token spellings into a list whose concatenation is nearer to the text.
type decoder interface {
	decode(tokens []string) []string
}

// Decode gives the text of ids, without special tokens where skipSpecial says so. Ids that the vocabulary does not
// have are left out; bytes that make no character become U+FFFD.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	tokens := make([]string, 0, len(ids))
	for _, id := range ids {
		if id < 0 || int(id) >= len(t.tokens) || !t.present[id] || skipSpecial && t.special[id] {
			continue
		}
		tokens = append(tokens, t.tokens[id])
	}
	if len(t.decoders) == 0 {
		return strings.Join(tokens, " ")
	}
	for _, d := range t.decoders {
		tokens = d.decode(tokens)
	}
	return strings.Join(tokens, "")
}

type byteLevelDecoder struct{}

func (byteLevelDecoder) decode(tokens []string) []string {
	var b []byte
	for _, t := range tokens {
		b = unspellBytes(b, t)
	}
	text, _ := lossy(b, false)
	return []string{text}
}

// byteFallback joins runs of <0xNN> into characters.
type byteFallback struct{}

func (byteFallback) decode(tokens []string) []string {
	out := make([]string, 0, len(tokens))
	var run []byte
	flush := func() {
		if utf8.Valid(run) && len(run) > 0 {
			out = append(out, string(run))
		} else {
			for range run {
				out = append(out, "\uFFFD")
			}
		}
		run = run[:0]
	}
	for _, t := range tokens {
		if b, ok := byteToken(t); ok {
			run = append(run, b)
			continue
		}
		flush()
		out = append(out, t)
	}
	flush()
	return out
}

// byteToken reads <0xNN>.
func byteToken(t string) (byte, bool) {
	if len(t) != 6 || t[:3] != "<0x" || t[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(t[3:5], 16, 8)
	return byte(b), err == nil
}

type fuse struct{}

func (fuse) decode(tokens []string) []string { return []string{strings.Join(tokens, "")} }

// stripDecoder takes up to start (stop) copies of a character off the head (tail) of each string.
type stripDecoder struct {
	content     string
	start, stop int
}

func (d stripDecoder) decode(tokens []string) []string {
	out := make([]string, len(tokens))
	for i, t := range tokens {
		for n := 0; n < d.start && strings.HasPrefix(t, d.content); n++ {
			t = t[len(d.content):]
		}
		for n := 0; n < d.stop && strings.HasSuffix(t, d.content); n++ {
			t = t[:len(t)-len(d.content)]
		}
		out[i] = t
	}
	return out
}

// eachToken rewrites every token by itself.
type eachToken func(t string) string

func (d eachToken) decode(tokens []string) []string {
	out := make([]string, len(tokens))
	for i, t := range tokens {
		out[i] = d(t)
	}
	return out
}

// metaspaceDecoder turns marks into spaces, but for those of the first token where a prefix was put in.
type metaspaceDecoder struct {
	mark     string
	prefixed bool
}

func (d metaspaceDecoder) decode(tokens []string) []string {
	out := make([]string, len(tokens))
	for i, t := range tokens {
		space := " "
		if i == 0 && d.prefixed {
			space = ""
		}
		out[i] = strings.ReplaceAll(t, d.mark, space)
	}
	return out
}

// buildDecoders reads the decoder of a tokenizer.json.
func buildDecoders(c *component) ([]decoder, error) {
	if c == nil {
		return nil, nil
	}
	one := func(d decoder) ([]decoder, error) { return []decoder{d}, nil }
	switch c.Type {
	case "Sequence":
		var all []decoder
		for i := range c.Decoders {
			d, err := buildDecoders(&c.Decoders[i])
			if err != nil {
				return nil, err
			}
			all = append(all, d...)
		}
		return all, nil
	case "ByteLevel":
		return one(byteLevelDecoder{})
	case "ByteFallback":
		return one(byteFallback{})
	case "Fuse":
		return one(fuse{})
	case "Strip":
		if c.Content == "" {
			return nil, fmt.Errorf("decoder Strip has no content")
		}
		return one(stripDecoder{c.Content, c.Start, c.Stop})
	case "Metaspace":
		step, err := buildMetaspace(c)
		if err != nil {
			return nil, err
		}
		m := step.(metaspace)
		return one(metaspaceDecoder{m.mark, m.scheme != "never"})
	case "Replace":
		n, err := buildNormalizers(c)
		if err != nil {
			return nil, fmt.Errorf("decoder Replace: %w", err)
		}
		return one(eachToken(func(t string) string { return n[0].apply(piece{s: t}, false).s }))
	}
	return nil, fmt.Errorf("decoder %q is not supported", c.Type)
}
