// Package template renders the chat templates of model folders byte for byte as transformers does, and finds the
// bytes that the assistant produced.
//
// Chat templates are Jinja2 programs written against Python: they call methods of str, list and dict, compare and
// format Python values, and count on the whitespace rules of transformers' environment (trim_blocks, lstrip_blocks).
// A template is therefore read here, by Jinja2's own lexical rules and grammar, and rewritten into the part of the
// language that minijinja evaluates alike: every operator, filter, test, method call and literal becomes a call of a
// function of this package, which does what Python does; statements stay statements. Dicts keep their order, integers
// their digits, and a template cannot loop for ever or fill the memory.
package template
