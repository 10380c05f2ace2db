package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"lathe/compute"
	"lathe/datasets"
	"lathe/model"
	"lathe/model/template"
	"lathe/model/tokenizer"
)

// modelFlags are the flags of commands that load a model.
type modelFlags struct {
	model, adapter string
	in4bit         bool
	quantType      string
	doubleQuant    bool
}

func (f *modelFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.model, "model", "", "model folder: config.json, *.safetensors, tokenizer.json")
	cmd.Flags().StringVar(&f.adapter, "adapter", "", "adapter folder: PEFT's LoRA, DoRA or prefix, or a bottleneck adapter of the adapters library")
	cmd.Flags().BoolVar(&f.in4bit, "load-in-4bit", false, "quantise the linear layers to 4 bits, as bitsandbytes does")
	cmd.Flags().StringVar(&f.quantType, "bnb-4bit-quant-type", "nf4", "with --load-in-4bit: nf4 or fp4")
	cmd.Flags().BoolVar(&f.doubleQuant, "double-quant", true, "with --load-in-4bit: quantise the scales too")
}

// loaded is a model in a device's memory.
type loaded struct {
	dev   compute.Device
	files *model.Files
	model *model.Model
}

// load opens the device, the model and its adapter; the caller closes it.
func (f *modelFlags) load(e *env) (*loaded, error) {
	quantType, ok := map[string]compute.QuantType{"nf4": compute.NF4, "fp4": compute.FP4}[f.quantType]
	if !ok {
		return nil, usage("--bnb-4bit-quant-type %q is none of nf4, fp4", f.quantType)
	}
	files, err := openModel(f.model)
	if err != nil {
		return nil, err
	}
	dev, err := openDevice(e.device)
	if err != nil {
		files.Close()
		return nil, err
	}
	l := &loaded{dev: dev, files: files}
	bar := newProgress(e.stderr)
	options := model.LoadOptions{Quant4: f.in4bit, QuantType: quantType, DoubleQuant: f.doubleQuant, KeepDType: true, Cache: quantCache()}
	l.model, err = model.Load(dev, files, options, func(done, total int64) {
		bar.set("loading", done>>20, total>>20, "MiB")
	})
	bar.clear()
	if err == nil && f.adapter != "" {
		var adapter *model.Adapter
		if adapter, err = model.LoadAdapter(l.model, f.adapter); err == nil {
			l.model = l.model.With(adapter)
		}
	}
	if err != nil {
		l.close()
		return nil, configError(err)
	}
	return l, nil
}

func (l *loaded) close() {
	l.files.Close()
	l.dev.Close()
}

// openModel opens the folder that --model names.
func openModel(dir string) (*model.Files, error) {
	if dir == "" {
		return nil, usage("which model? name its folder with --model DIR")
	}
	files, err := model.Open(dir)
	if err != nil {
		return nil, configError(err)
	}
	return files, nil
}

// openTokenizer reads the tokenizer of the folder that --model names.
func openTokenizer(dir string) (*tokenizer.Tokenizer, error) {
	if dir == "" {
		return nil, usage("which model? name its folder with --model DIR")
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return nil, configError(err)
	}
	return tok, nil
}

// openEncoder reads a model's tokenizer and template for checks and views.
func openEncoder(dir string, maxSeqLength int) (*datasets.Encoder, error) {
	tok, err := openTokenizer(dir)
	if err != nil {
		return nil, err
	}
	enc := &datasets.Encoder{Tokenizer: tok, MaxSeqLength: maxSeqLength}
	switch t, err := template.Load(dir); {
	case err == nil:
		enc.Renderer = t
	case !errors.Is(err, template.ErrNone):
		return nil, configError(err)
	}
	return enc, nil
}
