package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"lathe/model/safetensors"
	"lathe/model/template"
	"lathe/model/tokenizer"
)

// Files is a model folder in Hugging Face layout whose config.json and safetensors headers have been read and found to
// agree. No weight has been read.
type Files struct {
	Dir    string // the folder, "" when opened from an fs.FS
	Config Config

	fsys      fs.FS
	set       *safetensors.Set
	quantized map[string]*prequantized // linear layers that were quantised before they were saved
}

// Open reads a model folder's config.json and safetensors headers. An error says which tensor is missing, superfluous or of
// another shape than config.json says.
func Open(dir string) (*Files, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open model: %s: %w: give the folder that holds config.json", dir, syscall.ENOTDIR)
	}
	f := &Files{Dir: dir, fsys: os.DirFS(dir)}
	if err := f.readConfig(); err != nil {
		return nil, fmt.Errorf("open model %s: %w", dir, err)
	}
	if f.set, err = safetensors.Open(dir); err != nil {
		return nil, fmt.Errorf("open model %s: %w", dir, err)
	}
	if err := f.check(); err != nil {
		_ = f.set.Close() // the first error is the one to report
		return nil, fmt.Errorf("open model %s: %w", dir, err)
	}
	return f, nil
}

// OpenFS is Open for a file system, such as one embedded in the program. Weights must be in one model.safetensors.
func OpenFS(fsys fs.FS) (*Files, error) {
	f := &Files{fsys: fsys}
	if err := f.readConfig(); err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	data, err := fs.ReadFile(fsys, safetensors.SingleFile)
	if err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	if f.set, err = safetensors.Parse(data); err != nil {
		return nil, fmt.Errorf("open model: %s: %w", safetensors.SingleFile, err)
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	return f, nil
}

func (f *Files) readConfig() error {
	config, err := fs.ReadFile(f.fsys, "config.json")
	if err != nil {
		return fmt.Errorf("%w (a model folder has config.json, *.safetensors and tokenizer.json)", err)
	}
	generation, err := fs.ReadFile(f.fsys, "generation_config.json")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.Config, err = ParseConfig(config, generation)
	return err
}

// check compares the tensors with those that the configuration demands.
func (f *Files) check() error {
	wanted := map[string]bool{}
	familyNamed(f.Config.Family).names.rename(f.set)
	f.quantized = map[string]*prequantized{}
	for _, spec := range f.Config.layout() {
		wanted[spec.name] = true
		if err := f.checkTensor(spec, wanted); err != nil {
			return err
		}
	}
	for _, name := range f.set.Names() {
		if !wanted[name] && !harmless(name, &f.Config) {
			return fmt.Errorf("tensor %s is not part of a %s as config.json describes it; it would be ignored in silence", name, f.Config.Architecture)
		}
	}
	if f.Config.Quantization != nil && len(f.quantized) == 0 {
		return errors.New("config.json: quantization_config: it says that bitsandbytes quantised the weights, but no tensor is: " +
			"take the key out, and set load_in_4bit to quantise them now")
	}
	return nil
}

// checkTensor compares one tensor, and adds the names of those that belong to it.
func (f *Files) checkTensor(spec tensorSpec, wanted map[string]bool) error {
	t, ok := f.set.Tensor(spec.name)
	if !ok {
		return fmt.Errorf("tensor %s is missing: config.json says that there is one, of shape %v", spec.name, spec.shape)
	}
	if spec.kind == matrix || spec.kind == head {
		q, err := readPrequantized(f.set, spec, wanted)
		if err != nil {
			return err
		}
		if q != nil && f.Config.Quantization == nil {
			return fmt.Errorf("tensor %s is quantised (%s), but config.json has no quantization_config: take the config.json that was saved with it", spec.name, q.Type)
		}
		if q != nil {
			f.quantized[spec.name] = q
			return nil
		}
	}
	if !sameShape(t.Shape, spec.shape) {
		return fmt.Errorf("tensor %s has shape %v, but config.json makes it %v", spec.name, t.Shape, spec.shape)
	}
	if _, err := deviceType(t.DType); err != nil {
		return fmt.Errorf("tensor %s: %w", spec.name, err)
	}
	return nil
}

// stored says how a tensor lies in the files.
func (f *Files) stored(spec tensorSpec) stored {
	t, _ := f.set.Tensor(spec.name)
	dtype, _ := deviceType(t.DType)
	return stored{dtype: dtype, quant: f.quantized[spec.name]}
}

func sameShape(have []int64, want []int) bool {
	return slices.EqualFunc(have, want, func(a int64, b int) bool { return a == int64(b) })
}

// Tokenizer reads tokenizer.json.
func (f *Files) Tokenizer() (*tokenizer.Tokenizer, error) { return tokenizer.LoadFS(f.fsys) }

// Template reads the chat template; template.ErrNone when the folder has none.
func (f *Files) Template() (*template.Template, error) { return template.LoadFS(f.fsys) }

// FS is the folder as a file system: tokenizer files, licence and model card lie there.
func (f *Files) FS() fs.FS { return f.fsys }

// Parameters is the number of weights, a tied head counted once.
func (f *Files) Parameters() int64 { return f.Config.Parameters() }

// Bytes is the size of the weights as stored.
func (f *Files) Bytes() int64 { return f.set.Bytes() }

// DType is the type in which most of the weights are stored, by torch's name.
func (f *Files) DType() string {
	t, _ := f.set.Tensor(f.Config.layout()[0].name)
	dtype, _ := deviceType(t.DType)
	return dtype.String()
}

// Close unmaps the weights.
func (f *Files) Close() error { return f.set.Close() }
