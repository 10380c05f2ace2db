package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"lathe/compute"
	"lathe/export/licence"
	"lathe/model"
	"lathe/model/tokenizer"
	"lathe/trainer"
)

// inspection is what `lathe inspect --json` prints of a model folder. Licence, Tokenizer and Template are lines for people;
// what they are made of stands beside them.
type inspection struct {
	Family        string           `json:"family"`
	Architecture  string           `json:"architecture"`
	Parameters    int64            `json:"parameters"`
	DType         string           `json:"dtype"`  // of most weights
	DTypes        map[string]int64 `json:"dtypes"` // bytes of each type
	Bytes         int64            `json:"bytes"`
	Shards        int              `json:"shards"`
	ContextLength int              `json:"context_length"`
	RoPE          *ropeScaling     `json:"rope_scaling,omitempty"`
	Window        int              `json:"sliding_window,omitempty"`
	Hidden        int              `json:"hidden_size"`
	Layers        int              `json:"num_hidden_layers"`
	Heads         int              `json:"num_attention_heads"`
	KVHeads       int              `json:"num_key_value_heads"`
	HeadDim       int              `json:"head_dim"`
	Vocab         int              `json:"vocab_size"`
	Quantization  string           `json:"quantization,omitempty"` // of a checkpoint that was quantised before it was saved

	Licence         string           `json:"licence"`
	LicenceDetails  licence.Licence  `json:"licence_details"`
	Tokenizer       string           `json:"tokenizer"`
	TokenizerHealth *tokenizerReport `json:"tokenizer_health"`
	Template        string           `json:"template"`
	TemplateHealth  *templateReport  `json:"template_health"`

	// Memory is bytes by method for one row of BatchTokens tokens, MemoryByRows the same for several rows, Checkpointed with
	// gradient_checkpointing.
	Memory       map[trainer.Method]int64         `json:"memory"`
	MemoryByRows map[trainer.Method]map[int]int64 `json:"memory_by_rows"`
	Checkpointed map[trainer.Method]map[int]int64 `json:"memory_checkpointed"`
	MemoryFree   int64                            `json:"memory_free"` // on this machine's device, 0 where it does not say
	BatchTokens  int                              `json:"batch_tokens"`

	Health  []finding      `json:"health"` // what is wrong or worth knowing, gravest first
	Adapter *adapterReport `json:"adapter,omitempty"`

	dir string
	tok *tokenizer.Tokenizer // nil where it cannot be read
}

// finding is a line of health.
type finding struct {
	Level string `json:"level"` // error, warn or info
	Part  string `json:"part"`  // config, weights, tokenizer, template, licence, adapter
	Text  string `json:"text"`
}

const (
	levelError = "error"
	levelWarn  = "warn"
	levelInfo  = "info"
)

func inspectCommand(e *env) *cobra.Command {
	var dir, adapter string
	cmd := &cobra.Command{
		Use:   "inspect --model DIR [--adapter DIR]",
		Short: "What a model or adapter folder holds, its licence and health, and what each method would take",
		Long: "Reads config.json, the headers of the weights, tokenizer, template and licence, never the weights themselves: a folder of\n" +
			"70 billion parameters is told of in under a second. What is broken is named beside what can still be said.",
		Args: maxArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir != "" && adapter == "" && isAdapter(dir) {
				dir, adapter = "", dir
			}
			if adapter != "" {
				return e.inspectAdapter(dir, adapter)
			}
			if dir == "" {
				return usage("which model? name its folder with --model DIR")
			}
			return e.inspectModel(dir)
		},
	}
	cmd.Flags().StringVar(&dir, "model", "", "model folder, or an adapter's")
	cmd.Flags().StringVar(&adapter, "adapter", "", "adapter folder: PEFT's, the adapters library's, a checkpoint or a run's output_dir")
	return cmd
}

// inspectModel prints what can be said of a model folder, and fails with what makes it unusable.
func (e *env) inspectModel(dir string) error {
	in, fault := e.inspect(dir)
	if in == nil {
		return configError(fault)
	}
	if err := e.printInspection(in); err != nil {
		return err
	}
	return fault
}

func (e *env) printInspection(in *inspection) error {
	if e.json {
		return writeJSON(e.stdout, in)
	}
	p := newPage(e.stdout)
	in.print(p)
	return p.err
}

// inspect reads a model folder. Without a config.json there is nothing to say; any other fault comes with what is known.
func (e *env) inspect(dir string) (*inspection, error) {
	files, fault := model.Open(dir)
	if fault == nil {
		defer files.Close()
	}
	tokens := loadTokenizer(dir) // meanwhile: a large vocabulary takes as long as all the rest
	raw, err := readRawConfig(dir)
	if err != nil {
		if fault == nil {
			fault = err
		}
		return nil, fault
	}
	in := &inspection{
		dir: dir, LicenceDetails: licence.Read(os.DirFS(dir)), Memory: map[trainer.Method]int64{},
		MemoryByRows: map[trainer.Method]map[int]int64{}, Checkpointed: map[trainer.Method]map[int]int64{},
	}
	in.Licence = in.LicenceDetails.String()
	in.describe(raw)
	in.readWeights(dir)
	if config, err := parseConfig(dir); err == nil {
		in.fill(config)
	}
	if files != nil {
		in.Parameters, in.DType, in.Bytes = files.Parameters(), files.DType(), files.Bytes()
		for _, n := range files.Config.Notices {
			in.note(levelInfo, "config", "%s", n)
		}
		if err := e.planMethods(in, files); err != nil {
			return nil, err
		}
	}
	if fault != nil {
		in.note(levelError, "weights", "%v", fault)
	}
	in.readTokenizer(dir, raw, tokens)
	in.readTemplate(dir)
	in.noteLicence()
	in.sortHealth()
	return in, fault
}

func parseConfig(dir string) (model.Config, error) {
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return model.Config{}, err
	}
	generation, err := os.ReadFile(filepath.Join(dir, "generation_config.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return model.Config{}, err
	}
	return model.ParseConfig(config, generation)
}

// fill takes what the configuration says once the family's defaults are in it.
func (in *inspection) fill(c model.Config) {
	in.Family, in.Architecture = c.Family, c.Architecture
	in.Hidden, in.Layers, in.Heads, in.KVHeads, in.HeadDim = c.Hidden, c.Layers, c.Heads, c.KVHeads, c.HeadDim
	in.Vocab, in.ContextLength, in.Parameters = c.Vocab, c.ContextLength, c.Parameters()
	if c.Quantization != nil {
		in.Quantization = c.Quantization.String()
	}
}

// planned are the methods whose memory is told, smallest first. r 16 on PEFT's default modules is what people begin with.
var planned = []struct {
	method  trainer.Method
	adapter model.AdapterConfig
	load    model.LoadOptions
}{
	{trainer.MethodQLoRA, model.LoRAConfig{R: 16, Alpha: 32}, model.LoadOptions{Quant4: true, DoubleQuant: true, KeepDType: true}},
	{trainer.MethodPrefix, model.PrefixConfig{VirtualTokens: 20}, model.LoadOptions{KeepDType: true}},
	{trainer.MethodLoRA, model.LoRAConfig{R: 16, Alpha: 32}, model.LoadOptions{KeepDType: true}},
	{trainer.MethodAdapter, model.Houlsby(), model.LoadOptions{KeepDType: true}},
	{trainer.MethodFull, nil, model.LoadOptions{}},
}

// plannedRows are the rows of a micro-batch for which memory is told.
var plannedRows = []int{1, 4, 8}

// planMethods runs a step of each method on a dry device of this machine's kind.
func (e *env) planMethods(in *inspection, files *model.Files) error {
	dev, err := openDevice(e.device)
	if err != nil {
		return err
	}
	defer dev.Close()
	info := dev.Info()
	in.MemoryFree = info.MemoryFree
	in.BatchTokens = min(1024, max(1, in.ContextLength))
	for _, p := range planned {
		if p.adapter == nil && files.Config.Quantization != nil {
			in.note(levelInfo, "weights", "they are in 4 bits: adapters train on them as they are, method full needs the checkpoint that they were made from")
			continue
		}
		for _, checkpoint := range []bool{false, true} {
			byRows, err := in.planRows(files, info.Workspace, p.load, p.adapter, checkpoint)
			if err != nil {
				in.note(levelInfo, "config", "method %s cannot be planned: %v", p.method, err)
				break
			}
			if checkpoint {
				in.Checkpointed[p.method] = byRows
				continue
			}
			in.Memory[p.method], in.MemoryByRows[p.method] = byRows[1], byRows
		}
	}
	return nil
}

// planRows is the memory of a method by the rows of a micro-batch.
func (in *inspection) planRows(files *model.Files, rule compute.WorkspaceRule, load model.LoadOptions, adapter model.AdapterConfig, checkpoint bool) (map[int]int64, error) {
	load.Compute = compute.F32
	planner, err := model.NewPlanner(files.Config, model.PlanOptions{
		Load: load, Files: files, Full: adapter == nil, Adapter: adapter, Workspace: rule, Checkpoint: checkpoint,
	})
	if err != nil {
		return nil, err
	}
	byRows := map[int]int64{}
	for _, rows := range plannedRows {
		m, err := planner.Batch(rows*in.BatchTokens, rows, in.BatchTokens)
		if err != nil {
			return nil, err
		}
		const moments = 2 * 4 // AdamW keeps two float32 for every trained parameter
		byRows[rows] = max(m.Total()+m.Trainable*moments, m.Loading)
	}
	return byRows, nil
}

// note adds a line of health.
func (in *inspection) note(level, part, format string, args ...any) {
	in.Health = append(in.Health, finding{level, part, fmt.Sprintf(format, args...)})
}

func (in *inspection) noteLicence() {
	l := in.LicenceDetails
	switch {
	case l.Conflict != "":
		in.note(levelWarn, "licence", "%s", l.Conflict)
	case l.Stated == "":
		in.note(levelWarn, "licence", "the folder does not state one: find out before you train on it or pass it on")
	case !l.Known:
		in.note(levelInfo, "licence", "its terms are not known here: read %s", l.Source)
	}
}
