package export

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"lathe/model/safetensors"
)

// Adapter is what an adapter's folder says of itself, from its configuration and the header of its weights.
type Adapter struct {
	Kind          string   `json:"kind"` // lora, dora, prefix, bottleneck
	BaseModel     string   `json:"base_model_name_or_path"`
	R             int      `json:"r,omitempty"` // the largest of any module
	Alpha         float64  `json:"lora_alpha,omitempty"`
	RSLoRA        bool     `json:"use_rslora,omitempty"`
	Targets       string   `json:"target_modules,omitempty"`
	ModulesToSave []string `json:"modules_to_save,omitempty"`
	Bias          string   `json:"bias,omitempty"`
	VirtualTokens int      `json:"num_virtual_tokens,omitempty"`
	Config        any      `json:"config,omitempty"` // of the adapters library
	Parameters    int64    `json:"parameters"`
	DType         string   `json:"dtype"`
	Bytes         int64    `json:"bytes"`
	File          string   `json:"file"` // of the weights
	Tensors       int      `json:"tensors"`
	// Step and Method are of the run that trained it, where a lathe run did.
	Step   int    `json:"step,omitempty"`
	Method string `json:"method,omitempty"`
	// Warnings name readers that will refuse it as it is.
	Warnings []string `json:"warnings"`
}

// adapterWeights are the names of an adapter's weights: PEFT's and the adapters library's, and what older versions of both
// wrote, which is not read.
var (
	adapterWeights = []string{safetensors.AdapterFile, "adapter.safetensors"}
	pickled        = []string{"adapter_model.bin", "pytorch_adapter.bin"}
)

// DescribeAdapter reads an adapter's folder without its base and without its weights. Where the weights cannot be read, the
// error comes with what the configuration says.
func DescribeAdapter(dir string) (*Adapter, error) {
	c, err := readAdapterFile(filepath.Join(dir, adapterConfig))
	if err != nil {
		return nil, err
	}
	a := &Adapter{
		Kind: c.kind(), BaseModel: first(c.BaseModel, c.ModelName), RSLoRA: c.RSLoRA, Targets: c.targets(), ModulesToSave: c.ModulesToSave,
		VirtualTokens: c.VirtualTokens, Warnings: append([]string{}, c.readers()...),
	}
	if c.Type == "LORA" {
		a.R, a.Alpha = c.maxRank(), c.Alpha
		a.Bias, _ = c.Bias.(string)
	}
	if c.Config != nil {
		a.Config = c.Config
	}
	if run, err := readRun(dir); err == nil && run != nil {
		a.Step, a.Method = run.Step, string(run.Config.Method)
	}
	return a, a.readWeights(dir)
}

func (a *Adapter) readWeights(dir string) error {
	for _, name := range adapterWeights {
		set, err := safetensors.Open(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		defer set.Close()
		a.File, a.Bytes = name, set.Bytes()
		types := map[safetensors.DType]int64{}
		for _, tensor := range set.Names() {
			t, _ := set.Tensor(tensor)
			a.Tensors++
			a.Parameters += t.NumElements()
			types[t.DType] += t.NumElements()
			if types[t.DType] == max(types[safetensors.F32], types[safetensors.BF16], types[safetensors.F16]) {
				a.DType = map[safetensors.DType]string{safetensors.BF16: "bfloat16", safetensors.F16: "float16"}[t.DType]
				a.DType = first(a.DType, "float32")
			}
		}
		return nil
	}
	for _, name := range pickled {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return errors.New(filepath.Join(dir, name) + " is a pickle, which is not read: save the adapter with a newer version of its library, which writes safetensors")
		}
	}
	return errors.New(dir + " has no weights: " + strings.Join(adapterWeights, " or ") + " is missing")
}
