package model

import (
	"errors"
	"io/fs"

	"lathe/model/template"
	"lathe/model/tokenizer"
)

var errUnbuilt = errors.New("model: not built yet")

// Files is a model folder in Hugging Face layout whose config.json and safetensors headers have been read and found to
// agree. No weight has been read.
type Files struct {
	Dir    string // the folder, "" when opened from an fs.FS
	Config Config
}

// Open reads a model folder's config.json and safetensors headers.
func Open(dir string) (*Files, error) { return nil, errUnbuilt }

// OpenFS is Open for a file system, such as one embedded in the program.
func OpenFS(fsys fs.FS) (*Files, error) { return nil, errUnbuilt }

// Tokenizer reads tokenizer.json.
func (f *Files) Tokenizer() (*tokenizer.Tokenizer, error) { return nil, errUnbuilt }

// Template reads the chat template; template.ErrNone when the folder has none.
func (f *Files) Template() (*template.Template, error) { return nil, template.ErrNone }

// Parameters is the number of weights, a tied head counted once.
func (f *Files) Parameters() int64 { return 0 }

// Bytes is the size of the weights as stored.
func (f *Files) Bytes() int64 { return 0 }

// DType is the type in which most of the weights are stored, by torch's name.
func (f *Files) DType() string { return "" }

// Close unmaps the weights.
func (f *Files) Close() error { return nil }
