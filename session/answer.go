package session

import (
	"errors"

	"lathe/datasets"
	"lathe/model/tokenizer"
)

// errNoWords says that the run's tokens cannot be turned into text.
var errNoWords = errors.New("the model has no tokenizer: its tokens cannot be shown as words")

// words is what turns tokens into text: the model's own tokenizer, however the trainer wrapped it.
type words interface {
	IsSpecial(id int32) bool
	NewStream() *tokenizer.Stream
	Decode(ids []int32, skipSpecial bool) string
}

// answer turns generated tokens into text, piece by piece, special tokens left out.
type answer struct {
	tok    words
	stream *tokenizer.Stream
}

func newAnswer(e *datasets.Encoder) (*answer, error) {
	tok, ok := e.Tokenizer.(words)
	if !ok {
		return nil, errNoWords
	}
	return &answer{tok: tok, stream: tok.NewStream()}, nil
}

// push returns the text that is whole after one more token.
func (a *answer) push(id int32) string {
	if a.tok.IsSpecial(id) {
		return ""
	}
	return a.stream.Push(id)
}

// flush returns what is left, half a rune made U+FFFD.
func (a *answer) flush() string { return a.stream.Flush() }

// decodeAnswer is the text of a whole answer.
func decodeAnswer(e *datasets.Encoder, ids []int32) (string, error) {
	a, err := newAnswer(e)
	if err != nil {
		return "", err
	}
	return a.tok.Decode(ids, true), nil
}
