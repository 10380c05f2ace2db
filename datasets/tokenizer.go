package datasets

// IgnoreIndex is the label of a token on which no loss is taken (Hugging Face's
// ignore_index).
const IgnoreIndex int32 = -100

// Tokenizer is what this package needs of a tokenizer. The model's own
// (model/tokenizer) satisfies it; tests use one of bytes.
type Tokenizer interface {
	// Encode returns the ids of text. With addSpecial the tokenizer's
	// post-processor adds BOS or EOS where it is configured to.
	Encode(text string, addSpecial bool) []int32
	// EncodeSpans is Encode with the byte range of text each token covers;
	// a token that the post-processor added has an empty range.
	EncodeSpans(text string, addSpecial bool) ([]int32, [][2]int)
	// EOS and BOS return -1 where the tokenizer has none.
	EOS() int32
	BOS() int32
	// IsSpecial reports whether id is a control token (end of turn, role header …).
	IsSpecial(id int32) bool
	// Token returns the vocabulary's spelling of id.
	Token(id int32) string
	VocabSize() int
}

// Renderer is a model's chat template.
type Renderer interface {
	// Render renders {"messages":[…],"tools":[…],"add_generation_prompt":b} and
	// returns the text with the byte ranges that the assistant wrote.
	Render(request []byte) (text string, assistant [][2]int, err error)
}
