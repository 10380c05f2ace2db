package datasets

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// fakeTokenizer has a token for each byte, one for each pair of a space and the
// letter after it (so that tokens cross the edge between prompt and answer), and
// a few special tokens.
type fakeTokenizer struct {
	addBOS, addEOS bool
}

const (
	fakePair   = 256 // + the letter
	fakeBOS    = 512 // <s>
	fakeEOS    = 513 // </s>
	fakeEnd    = 514 // <|end|>
	fakeUser   = 515 // <|user|>
	fakeAnswer = 516 // <|assistant|>
	fakeVocab  = 517
)

var fakeSpecials = []string{"<s>", "</s>", "<|end|>", "<|user|>", "<|assistant|>"}

func (f fakeTokenizer) EncodeSpans(text string, addSpecial bool) (ids []int32, spans [][2]int) {
	add := func(id int32, start, end int) {
		ids, spans = append(ids, id), append(spans, [2]int{start, end})
	}
	if addSpecial && f.addBOS {
		add(fakeBOS, 0, 0)
	}
next:
	for i := 0; i < len(text); {
		for j, special := range fakeSpecials {
			if text[i] == '<' && strings.HasPrefix(text[i:], special) {
				add(int32(fakeBOS+j), i, i+len(special))
				i += len(special)
				continue next
			}
		}
		if text[i] == ' ' && i+1 < len(text) && text[i+1] >= 'A' && text[i+1] <= 'z' {
			add(fakePair+int32(text[i+1]), i, i+2)
			i += 2
			continue
		}
		add(int32(text[i]), i, i+1)
		i++
	}
	if addSpecial && f.addEOS {
		add(fakeEOS, len(text), len(text))
	}
	return ids, spans
}

func (f fakeTokenizer) Encode(text string, addSpecial bool) []int32 {
	ids, _ := f.EncodeSpans(text, addSpecial)
	return ids
}

func (f fakeTokenizer) EOS() int32              { return fakeEOS }
func (f fakeTokenizer) BOS() int32              { return fakeBOS }
func (f fakeTokenizer) IsSpecial(id int32) bool { return id >= fakeBOS }
func (f fakeTokenizer) VocabSize() int          { return fakeVocab }

func (f fakeTokenizer) Token(id int32) string {
	switch {
	case id >= fakeBOS:
		return fakeSpecials[id-fakeBOS]
	case id >= fakePair:
		return " " + string(id-fakePair)
	}
	return string([]byte{byte(id)})
}

// fakeTemplate renders <|role|>\ncontent<|end|>\n after what it begins with.
type fakeTemplate struct {
	begin     string
	before    string // between the content and <|end|>
	wholeTurn bool   // ranges hold <|end|>\n too
}

func (f fakeTemplate) Render(request []byte) (text string, assistant [][2]int, err error) {
	var r struct {
		Messages []struct {
			Role, Content string
			Calls         json.RawMessage `json:"tool_calls"`
		}
		Tools    json.RawMessage
		Generate bool `json:"add_generation_prompt"`
	}
	if err := json.Unmarshal(request, &r); err != nil {
		return "", nil, err
	}
	var b strings.Builder
	b.WriteString(f.begin)
	if r.Tools != nil {
		fmt.Fprintf(&b, "tools %s\n", r.Tools)
	}
	for _, m := range r.Messages {
		if m.Role == "nobody" {
			return "", nil, errors.New("roles must be user and assistant")
		}
		fmt.Fprintf(&b, "<|%s|>\n", m.Role)
		start := b.Len()
		b.WriteString(m.Content + string(m.Calls))
		end := b.Len()
		b.WriteString(f.before + "<|end|>\n")
		if f.wholeTurn {
			end = b.Len()
		}
		if m.Role == "assistant" {
			assistant = append(assistant, [2]int{start, end})
		}
	}
	if r.Generate {
		b.WriteString("<|assistant|>\n")
	}
	return b.String(), assistant, nil
}
