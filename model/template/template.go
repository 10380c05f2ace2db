// Package template renders chat templates as transformers does.
package template

import "errors"

// ErrNone is returned by Load for a model without a chat template.
var ErrNone = errors.New("the model has no chat template")

// Template is a parsed chat template. It is safe for concurrent use.
type Template struct{}

// Parse reads a chat template; vars are the names it may use beside the request's, such as bos_token.
func Parse(source string, vars map[string]any) (*Template, error) {
	return nil, errors.New("not built yet")
}

// Load finds the chat template of a model folder.
func Load(dir string) (*Template, error) { return nil, ErrNone }

// Render renders a request, a JSON object of messages, tools, add_generation_prompt and other variables.
// assistant holds the byte ranges of text that the assistant's turns produced.
func (t *Template) Render(request []byte) (text string, assistant [][2]int, err error) {
	return "", nil, errors.New("not built yet")
}
