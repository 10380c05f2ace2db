package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lathe/compute"
	"lathe/datasets"
	"lathe/export"
	"lathe/model"
	"lathe/model/template"
	"lathe/trainer"
)

// exportFlags are the flags of `lathe export`.
type exportFlags struct {
	adapter, out, model string
	dtype, shardSize    string
	in4bit, doubleQuant bool
	quantType           string
	evalFile            string
}

func exportCommand(e *env) *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export FORMAT --adapter DIR --out DIR",
		Short: "Write an adapter, or a model with it merged in, for others to load",
		Long: "FORMAT is peft (Hugging Face PEFT, vLLM) or merged (transformers, TensorRT-LLM). What is written is read back from the disk\n" +
			"and compared in logits with the live model; only then is it put in place. A model card tells base, data, licence and metrics.",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := f.run(cmd, e, args[0])
			if errors.Is(err, export.ErrRefused) {
				return usageError{err}
			}
			if err != nil {
				return configError(err)
			}
			for _, w := range report.Warnings {
				fmt.Fprintf(e.stderr, "lathe: %s\n", w)
			}
			if e.json {
				return writeJSON(e.stdout, report)
			}
			printExport(e, report)
			return nil
		},
	}
	cmd.Flags().StringVar(&f.adapter, "adapter", "", "adapter folder: a PEFT adapter, a checkpoint or a run's output_dir")
	cmd.Flags().StringVar(&f.out, "out", "", "new folder to write; an existing one must be empty")
	cmd.Flags().StringVar(&f.model, "model", "", "base model folder (default: the one that the adapter names)")
	cmd.Flags().StringVar(&f.dtype, "dtype", "", "merged: float32, bfloat16 or float16 (default: as the base stores each tensor)")
	cmd.Flags().StringVar(&f.shardSize, "max-shard-size", "5GB", "merged: size of a file of weights, such as 500MB or 2GiB")
	cmd.Flags().BoolVar(&f.in4bit, "load-in-4bit", false, "merge into the 4-bit weights that QLoRA trained on, dequantised")
	cmd.Flags().StringVar(&f.quantType, "bnb-4bit-quant-type", "nf4", "with --load-in-4bit: nf4 or fp4 (default: as the run had it)")
	cmd.Flags().BoolVar(&f.doubleQuant, "double-quant", true, "with --load-in-4bit: the scales are quantised too (default: as the run had it)")
	cmd.Flags().StringVar(&f.evalFile, "eval-file", "", "merged: rows to measure perplexity on (default: the run's validation_file, else a fixed text)")
	return cmd
}

// exporters are the formats that are there.
var exporters = map[string]func(context.Context, *model.Model, export.Options) (*export.Report, error){
	export.FormatPEFT: export.PEFT, export.FormatMerged: export.Merged,
}

// check refuses what the command line alone shows to be wrong, and reads the size of a shard.
func (f *exportFlags) check(cmd *cobra.Command, format string) (shard int64, err error) {
	switch {
	case format == "gguf":
		return 0, usage("export gguf: not there yet; `lathe export merged` writes a folder that llama.cpp's convert_hf_to_gguf.py reads")
	case exporters[format] == nil:
		return 0, usage("export %s: unknown format; use peft or merged", format)
	case f.adapter == "":
		return 0, usage("which adapter? name its folder with --adapter DIR")
	case f.out == "":
		return 0, usage("where to? name a new folder with --out DIR")
	case f.dtype != "" && !slices.Contains([]string{"float32", "bfloat16", "float16"}, f.dtype):
		return 0, usage("--dtype %s: use float32, bfloat16 or float16", f.dtype)
	}
	if format == export.FormatPEFT {
		for _, name := range []string{"dtype", "max-shard-size", "eval-file"} {
			if cmd.Flags().Changed(name) {
				return 0, usage("--%s is for `lathe export merged`: an adapter is written as it was trained", name)
			}
		}
	}
	if _, ok := quantTypes[f.quantType]; !ok {
		return 0, usage("--bnb-4bit-quant-type %s: use nf4 or fp4", f.quantType)
	}
	if shard, err = parseSize(f.shardSize); err != nil {
		return 0, usage("--max-shard-size %s: %v", f.shardSize, err)
	}
	if info, err := os.Stat(f.adapter); err == nil && !info.IsDir() {
		return 0, usage("--adapter %s is a file: name the folder that holds it", f.adapter)
	}
	if fileIn(f.adapter, "config.json") && !fileIn(f.adapter, "adapter_config.json") {
		return 0, usage("--adapter %s is a whole model, as method full trains them: transformers loads it as it is", f.adapter)
	}
	_, err = os.Stat(filepath.Join(f.adapter, "adapter_config.json"))
	return shard, err
}

func (f *exportFlags) run(cmd *cobra.Command, e *env, format string) (*export.Report, error) {
	shard, err := f.check(cmd, format)
	if err != nil {
		return nil, err
	}
	config, isRun, err := export.RunConfig(f.adapter)
	if err != nil {
		return nil, err
	}
	f.asTrained(cmd, e, format, config, isRun)
	if f.model == "" {
		if f.model, err = export.FindBase(f.adapter); err != nil {
			return nil, err
		}
	}
	if err = export.CheckPlace(f.out, f.model, f.adapter); err != nil { // before a model is loaded for nothing
		return nil, err
	}
	l, err := f.load(e)
	if err != nil {
		return nil, err
	}
	defer l.close()
	o := export.Options{Out: f.out, Base: l.files, AdapterDir: f.adapter, Version: version(), DType: f.dtype, MaxShardBytes: shard}
	if format == export.FormatMerged {
		if o.Eval, o.EvalName, err = f.evalRows(cmd.Context(), l.files, config, isRun); err != nil {
			return nil, err
		}
		if isRun && config.Method == trainer.MethodQLoRA && !f.in4bit {
			o.Trained = &model.LoadOptions{Quant4: true, QuantType: quantTypes[f.quantType], DoubleQuant: f.doubleQuant, KeepDType: true}
		}
		o.Release = func() { l.model.Adapter().Free(); l.model.Free() }
	}
	bar := newProgress(e.stderr)
	defer bar.clear()
	o.Progress = func(stage string, done, total int64) { bar.set(stage, done, total, "") }
	return exporters[format](cmd.Context(), l.model, o)
}

// quantTypes are bitsandbytes' code books by their names.
var quantTypes = map[string]compute.QuantType{"nf4": compute.NF4, "fp4": compute.FP4}

// asTrained takes from the run how its base was held, where the command line does not say otherwise.
func (f *exportFlags) asTrained(cmd *cobra.Command, e *env, format string, c trainer.Config, isRun bool) {
	if !isRun {
		return
	}
	if !cmd.Flags().Changed("bnb-4bit-quant-type") {
		f.quantType = c.QuantType
	}
	if !cmd.Flags().Changed("double-quant") {
		f.doubleQuant = c.DoubleQuant
	}
	if format == export.FormatMerged && c.Method == trainer.MethodQLoRA && !f.in4bit && !cmd.Flags().Changed("load-in-4bit") {
		fmt.Fprintln(e.stderr, "lathe: this adapter was trained on a base in 4 bits and is merged into the unquantised one; --load-in-4bit merges into the weights that it was trained on")
	}
}

// load brings base and adapter to the device. A base whose weights change their type is held in float32, so that each merged
// weight is rounded once.
func (f *exportFlags) load(e *env) (*loaded, error) {
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
	o := model.LoadOptions{Quant4: f.in4bit, QuantType: quantTypes[f.quantType], DoubleQuant: f.doubleQuant, KeepDType: f.dtype == "" || f.dtype == files.DType()}
	bar := newProgress(e.stderr)
	l.model, err = model.Load(dev, files, o, func(done, total int64) { bar.set("loading", done>>20, total>>20, "MiB") })
	bar.clear()
	if err == nil {
		var adapter *model.Adapter
		if adapter, err = model.LoadAdapter(l.model, f.adapter); err == nil {
			l.model = l.model.With(adapter)
		}
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// evalRows reads the rows on which perplexity is measured; none for the probe text.
func (f *exportFlags) evalRows(ctx context.Context, files *model.Files, c trainer.Config, isRun bool) ([]datasets.Sample, string, error) {
	paths, name := []string{f.evalFile}, "--eval-file "+f.evalFile
	if f.evalFile == "" {
		if !isRun {
			return nil, "", nil
		}
		paths = slices.DeleteFunc(slices.Clone([]string(c.ValidationFile)), func(path string) bool {
			info, err := os.Stat(path)
			return err != nil || !info.Mode().IsRegular()
		})
		if len(paths) == 0 {
			return nil, "", nil
		}
		name = "the run's validation_file"
	}
	enc, err := encoderOf(files, c)
	if err != nil {
		return nil, "", err
	}
	format, err := datasets.ParseFormat(c.Format)
	if err != nil {
		return nil, "", err
	}
	rows, err := datasets.Load(ctx, paths, datasets.LoadOptions{Open: datasets.Options{Format: format, Columns: c.Columns.Columns()}, Encoder: enc})
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", name, err)
	}
	if len(rows) == 0 {
		return nil, "", fmt.Errorf("%s: there is no row in it", name)
	}
	return rows, name, nil
}

// encoderOf encodes rows as the run did.
func encoderOf(files *model.Files, c trainer.Config) (*datasets.Encoder, error) {
	enc := &datasets.Encoder{MaxSeqLength: c.MaxSeqLength, TrainOnInputs: c.TrainOnInputs, Columns: c.Columns.Columns()}
	if n := files.Config.ContextLength; n > 0 {
		enc.MaxSeqLength = min(enc.MaxSeqLength, n)
	}
	switch tok, err := files.Tokenizer(); {
	case err == nil:
		enc.Tokenizer = tok
	case errors.Is(err, fs.ErrNotExist):
		return nil, usage("--eval-file: the base has no tokenizer.json, so that its rows cannot be read")
	default:
		return nil, err
	}
	switch t, err := files.Template(); {
	case err == nil:
		enc.Renderer = t
	case !errors.Is(err, template.ErrNone):
		return nil, err
	}
	return enc, nil
}

var sizeShape = regexp.MustCompile(`(?i)^\s*([0-9]+(?:\.[0-9]+)?)\s*(b|kb|mb|gb|tb|kib|mib|gib|tib|)\s*$`)

// parseSize reads a size as transformers' max_shard_size spells it: 5GB is 5·10⁹ bytes, 5GiB 5·2³⁰.
func parseSize(text string) (int64, error) {
	m := sizeShape.FindStringSubmatch(text)
	if m == nil {
		return 0, errors.New("give a size such as 5GB or 500MB")
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, errors.New("give a size such as 5GB or 500MB")
	}
	unit := strings.ToLower(m[2])
	step := 1000.0
	if strings.HasSuffix(unit, "ib") {
		step = 1024
	}
	for range strings.IndexByte("bkmgt", (unit + "b")[0]) {
		n *= step
	}
	if n < 1 || n > 1<<60 {
		return 0, errors.New("it is out of range")
	}
	return int64(n), nil
}

// printExport says in a few lines what was written and how it was checked.
func printExport(e *env, r *export.Report) {
	var total int64
	for _, f := range r.Files {
		total += f.Bytes
	}
	fmt.Fprintf(e.stdout, "%s: %d files, %s\n", r.Out, len(r.Files), bytesText(total))
	fmt.Fprintf(e.stdout, "read back and compared: logits differ by %.2g at most (allowed %.2g) on %d tokens\n", r.MaxLogitDifference, r.Tolerance, r.ProbeTokens)
	if p := r.Perplexity; p != nil {
		fmt.Fprintf(e.stdout, "perplexity over %d tokens (%s): %.5g before, %.5g merged in %s (%+.2g%%)", p.Tokens, p.Source, p.Live, p.Merged, r.DType, 100*(p.Merged/p.Live-1))
		if p.Trained != nil {
			fmt.Fprintf(e.stdout, "; %.5g on the base in 4 bits, as trained", *p.Trained)
		}
		if p.Requantized != nil {
			fmt.Fprintf(e.stdout, ", %.5g quantised to 4 bits again (%+.2g%%)", *p.Requantized, 100*(*p.Requantized/p.Live-1))
		}
		fmt.Fprintln(e.stdout)
	}
	fmt.Fprintf(e.stdout, "licence of the base: %s; the model card is README.md\n", r.Licence)
}
