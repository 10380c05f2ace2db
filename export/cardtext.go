package export

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lathe/export/licence"
	"lathe/trainer"
)

// kindNames are the adapters' names in a sentence.
var kindNames = map[string]string{
	kindLoRA: "LoRA", kindDoRA: "DoRA", kindPrefix: "prefix tuning", kindBottleneck: "bottleneck adapter",
}

func (j *job) kindName() string { return first(kindNames[j.about.kind], j.about.kind) }

func (c *card) title(j *job) {
	c.line("\n# %s\n", filepath.Base(j.options.Out))
	base := "`" + first(j.about.hubID, filepath.Base(j.about.baseName)) + "`"
	if j.about.hubID != "" {
		base = fmt.Sprintf("[%s](https://huggingface.co/%s)", j.about.hubID, j.about.hubID)
	}
	if j.report.Format == FormatMerged {
		c.line("%s with a %s adapter merged into its weights (%s).", base, j.kindName(), j.report.DType)
	} else {
		c.line("A %s adapter for %s. It holds the difference alone: the base has to be loaded with it.", j.kindName(), base)
	}
	if l := j.about.licence; l.Known {
		for _, text := range []string{"Built with Llama", "Built with Meta Llama 3"} {
			for _, t := range l.Terms {
				if strings.Contains(t.Text, "“"+text+"”") {
					c.line("\n**%s**", text)
				}
			}
		}
	}
}

func (c *card) adapter(j *job) {
	a := j.about.adapter
	c.heading("Adapter")
	c.table("setting", "value")
	c.row("method", j.kindName())
	if j.about.mergeable() {
		c.row("r", a.R)
		c.row("lora_alpha", a.Alpha)
		c.row("lora_dropout", a.Dropout)
		c.row("target_modules", a.targets())
		if bias, ok := a.Bias.(string); ok && bias != "none" {
			c.row("bias", bias)
		}
		if a.RSLoRA {
			c.row("use_rslora", true)
		}
		c.row("modules_to_save", strings.Join(a.ModulesToSave, ", "))
	}
	if j.about.kind == kindPrefix {
		c.row("num_virtual_tokens", a.VirtualTokens)
		c.row("prefix_projection", a.Projection)
	}
	if j.about.kind == kindBottleneck {
		for _, key := range []string{"mh_adapter", "output_adapter", "reduction_factor", "non_linearity"} {
			if v, ok := a.Config[key]; ok {
				c.row(key, v)
			}
		}
	}
	c.row("trained parameters", j.about.trained)
}

func (c *card) run(run *runState) {
	if run == nil {
		return
	}
	f := run.Config
	c.heading("Training")
	c.table("setting", "value")
	method := string(f.Method)
	if f.LoadIn4bit && f.Method == trainer.MethodQLoRA {
		method += fmt.Sprintf(" (base in 4 bits: %s, double quantisation %t, compute in %s)", f.QuantType, f.DoubleQuant, f.QuantComputeDType)
	}
	c.row("method", method)
	c.row("optimiser", fmt.Sprintf("%s, β₁ %v, β₂ %v, ε %v, weight decay %v", f.Optim, f.AdamBeta1, f.AdamBeta2, f.AdamEpsilon, f.WeightDecay))
	c.row("learning rate", fmt.Sprintf("%v, %s, %d warm-up steps", f.LearningRate, f.Schedule, f.WarmupSteps))
	c.row("batch", fmt.Sprintf("%d rows × %d micro-batches a step", f.BatchSize, f.GradAccum))
	c.row("longest row", fmt.Sprintf("%d tokens, packing %t", f.MaxSeqLength, f.Packing))
	c.row("clipping", fmt.Sprintf("global norm %v", f.MaxGradNorm))
	c.row("seeds", fmt.Sprintf("%d, data %d", f.Seed, f.DataSeed))
	c.row("steps", fmt.Sprintf("%d of %d (%.2f epochs), %d tokens", run.Step, run.Steps, run.Epoch, run.Tokens))
	c.row("device", run.Device)
	c.row("saved", run.Saved.UTC().Format("2006-01-02 15:04:05 UTC"))
}

func (c *card) data(run *runState, files []dataFile) {
	if run == nil {
		return
	}
	c.heading("Data")
	c.table("file", "role", "rows", "SHA-256")
	for _, f := range files {
		rows, sum := fmt.Sprint(f.rows), "`"+f.sum+"`"
		if f.sum == "" {
			rows, sum = "?", f.problem
		} else if f.problem != "" {
			rows = "?"
		}
		c.line("| %s | %s | %s | %s |", filepath.Base(f.path), f.role, rows, sum)
	}
	c.line("\nDigests are of the files as they lay there at the export. The run itself trained on tokens and labels with the")
	c.line("SHA-256 `%s`.", run.Fingerprints.Train)
}

func (c *card) metrics(run *runState) {
	if run == nil || len(run.History.Steps) == 0 {
		return
	}
	c.heading("Metrics")
	c.table("step", "epoch", "training loss", "eval_loss", "perplexity")
	evals := run.History.Evals
	if n := len(evals); n > 10 { // the last ones tell
		evals = evals[n-10:]
	}
	losses := map[int]float64{}
	for _, s := range run.History.Steps {
		losses[s.Step] = s.Loss
	}
	for _, e := range evals {
		c.line("| %d | %.2f | %.4f | %.4f | %.4g |", e.Step, e.Epoch, losses[e.Step], e.EvalLoss, math.Exp(e.EvalLoss))
	}
	last := run.History.Steps[len(run.History.Steps)-1]
	if len(evals) == 0 || evals[len(evals)-1].Step != last.Step {
		c.line("| %d | %.2f | %.4f | | |", last.Step, last.Epoch, last.Loss)
	}
	if run.Best != nil {
		c.line("\nBest: eval_loss %.4f at step %d.", run.Best.EvalLoss, run.Best.Step)
	}
}

// check says how the folder was found to be right, and what merging cost.
func (c *card) check(r *Report) {
	c.heading("Check")
	c.line("The files were read back from the disk and compared with the live model on %d tokens of fixed prompts: logits differ by", r.ProbeTokens)
	c.line("%.2g at most (allowed %.2g; the largest logit is %.3g).", r.MaxLogitDifference, r.Tolerance, r.MaxLogit)
	p := r.Perplexity
	if p == nil {
		return
	}
	c.line("\nPerplexity over %d tokens of %d rows (%s):\n", p.Tokens, p.Rows, p.Source)
	c.table("model", "perplexity", "change")
	change := func(v float64) string { return fmt.Sprintf("%+.3g%%", 100*(v/p.Live-1)) }
	switch {
	case p.Trained != nil:
		c.line("| base in 4 bits and adapter, as trained | %.5g | %s |", *p.Trained, change(*p.Trained))
		c.line("| base unquantised and adapter | %.5g | |", p.Live)
	case p.Requantized != nil:
		c.line("| base in 4 bits and adapter | %.5g | |", p.Live)
	default:
		c.line("| base and adapter | %.5g | |", p.Live)
	}
	c.line("| merged, %s | %.5g | %s |", r.DType, p.Merged, change(p.Merged))
	if p.Requantized != nil {
		c.line("| merged and quantised to 4 bits again | %.5g | %s |", *p.Requantized, change(*p.Requantized))
	}
}

func (c *card) licence(j *job) {
	l := j.about.licence
	c.heading("Licence")
	switch {
	case l.Known:
		c.line("The base is under the %s; what is made from it is bound by it. In short, with the clause (this is no legal advice):\n", l.Name)
		for _, t := range l.Terms {
			c.line("- %s: %s (%s)", t.Kind, t.Text, t.Clause)
		}
	case l.Stated != "":
		c.line("The base states “%s” (%s). Its terms are not summarised here: read them before you pass this on.", l.Stated, l.Source)
	default:
		c.line("The base's folder does not state a licence. Find out before you pass this on.")
	}
	if l.Known && j.demandsCopy() {
		c.line("\nThe base's folder has no copy of the licence: put one beside this card before you pass this on.")
	}
	if l.Conflict != "" {
		c.line("\nTo be settled: %s.", l.Conflict)
	}
}

// demandsCopy tells that the licence wants to travel with the weights, and that there is no file of it to take along.
func (j *job) demandsCopy() bool {
	wants := slices.ContainsFunc(j.about.licence.Terms, func(t licence.Term) bool {
		return t.Kind == licence.Demands && strings.HasPrefix(t.Text, "a copy of")
	})
	has := slices.ContainsFunc(carried, func(name string) bool {
		_, err := os.Stat(filepath.Join(j.temp, name))
		return err == nil && strings.HasPrefix(name, "LICEN")
	})
	return wants && !has
}

// usage shows how others load the folder.
func (c *card) usage(j *job) {
	name := filepath.Base(j.options.Out)
	base := first(j.about.hubID, j.about.baseName, "path/to/base")
	c.heading("How to load it")
	switch {
	case j.report.Format == FormatMerged:
		c.line("```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n")
		c.line("model = AutoModelForCausalLM.from_pretrained(%q, dtype=\"auto\")\ntokenizer = AutoTokenizer.from_pretrained(%q)\n```\n", name, name)
		c.line("```sh\nvllm serve %s\n```", name)
	case j.about.kind == kindBottleneck:
		c.line("```python\nimport adapters\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n")
		c.line("model = AutoModelForCausalLM.from_pretrained(%q)\nadapters.init(model)", base)
		c.line("model.set_active_adapters(model.load_adapter(%q))\ntokenizer = AutoTokenizer.from_pretrained(%q)\n```", name, name)
	default:
		c.line("```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n")
		c.line("base = AutoModelForCausalLM.from_pretrained(%q, dtype=\"auto\")\nmodel = PeftModel.from_pretrained(base, %q)", base, name)
		c.line("tokenizer = AutoTokenizer.from_pretrained(%q)\n```", name)
		c.vllm(j, base, name)
	}
	for _, w := range j.report.Warnings {
		c.line("\n> %s.", w)
	}
	c.line("\nMade with lathe %s.", first(j.options.Version, "(devel)"))
}

func (c *card) vllm(j *job, base, name string) {
	a := j.about.adapter
	bias, _ := a.Bias.(string)
	if j.about.kind != kindLoRA || len(a.ModulesToSave) > 0 || bias != "" && bias != "none" {
		return
	}
	rank := ""
	if r := a.maxRank(); r > vllmRank {
		rank = fmt.Sprintf(" --max-lora-rank %d", vllmRankFor(r))
	}
	c.line("\n```sh\nvllm serve %s --enable-lora --lora-modules %s=./%s%s\n```", base, name, name, rank)
}
