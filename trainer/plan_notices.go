package trainer

import (
	"fmt"
	"slices"

	"lathe/compute"
	"lathe/datasets"
	"lathe/model"
)

// loadOptions says how weights are held, and notes what this device does otherwise than asked.
func (r *Run) loadOptions(device compute.Info) model.LoadOptions {
	c := r.config
	o := model.LoadOptions{Quant4: r.in4bit(), QuantType: c.quantType(), DoubleQuant: c.DoubleQuant, KeepDType: c.Method != MethodFull}
	// The 4-bit linears are nearly all of the products of a 4-bit model: their type is that of all of them. It is bfloat16 unless a
	// run.yaml says otherwise; on a CPU, few of which multiply it faster, only bf16 asks for it.
	wanted := c.BF16 || r.in4bit() && c.QuantComputeDType == "bfloat16" && device.Kind != "cpu"
	if wanted && slices.Contains(device.MatMul, compute.BF16) {
		o.Compute = compute.BF16
	}
	return o
}

// in4bit says whether the base is held in 4 bits: as asked for, or because the checkpoint is quantised already.
func (r *Run) in4bit() bool { return r.config.LoadIn4bit || r.files.Config.Quantization != nil }

// checkQuantization holds the run's options against a checkpoint that is quantised already: its own quantisation holds, as in
// transformers.
func (r *Run) checkQuantization() error {
	q, c := r.files.Config.Quantization, r.config
	if q == nil {
		return nil
	}
	if c.Method == MethodFull {
		return faultf(0, "method: full trains every weight, but the checkpoint holds %s weights, which cannot be trained; use method qlora, or the checkpoint that it was made from", q.Type)
	}
	switch {
	case !c.LoadIn4bit:
		r.notice(fmt.Sprintf("load_in_4bit: the checkpoint is quantised already (%s), so it is on", q))
	case c.QuantType != q.Type.String() || c.DoubleQuant != q.DoubleQuant:
		r.notice(fmt.Sprintf("bnb_4bit_quant_type, bnb_4bit_use_double_quant: the checkpoint is quantised already (%s); its own hold", q))
	}
	return nil
}

func (r *Run) notice(text string) { r.plan.Notices = append(r.plan.Notices, text) }

// deviceNotices tells which options this device honours in another way.
func (r *Run) deviceNotices(device compute.Info) {
	c, o := r.config, r.loadOptions(device)
	if device.Note != "" {
		r.notice(device.Note)
	}
	if c.BF16 && o.Compute != compute.BF16 {
		r.notice("bf16: this device multiplies no bfloat16; computed in float32")
	}
	if !r.in4bit() {
		return
	}
	switch {
	case c.QuantComputeDType == "bfloat16" && o.Compute != compute.BF16 && slices.Contains(device.MatMul, compute.BF16):
		r.notice("bnb_4bit_compute_dtype: computed in float32 on a CPU; bf16: true computes in bfloat16")
	case c.QuantComputeDType == "bfloat16" && o.Compute != compute.BF16:
		r.notice("bnb_4bit_compute_dtype: this device multiplies no bfloat16; computed in float32")
	case c.QuantComputeDType == "float16":
		r.notice("bnb_4bit_compute_dtype: float16 is computed in float32")
	}
}

// dataNotices tells what was done to rows and options to make them fit.
func (r *Run) dataNotices() {
	r.plan.Notices = append(r.plan.Notices, r.files.Config.Notices...)
	if limit := maxSeqLength(r.config, r.files.Config); limit < r.config.MaxSeqLength {
		r.notice(fmt.Sprintf("max_seq_length: %d is beyond the model's context; rows are cut at %d tokens", r.config.MaxSeqLength, limit))
	}
	if r.plan.CutRows > 0 {
		r.notice(fmt.Sprintf("%d of %d rows are longer than max_seq_length and were cut at the right: their ends are not learnt", r.plan.CutRows, r.plan.Rows))
	}
	ends := slices.ContainsFunc(r.corpus.train, func(s datasets.Sample) bool { return s.EOSTrained })
	if _, none := r.corpus.encoder.Tokenizer.(noTokenizer); !ends && !none {
		r.notice("no row trains an end-of-text or end-of-turn token: the model will not learn to stop")
	}
	if r.corpus.warnings > 0 {
		r.notice(fmt.Sprintf("warnings of the linter: %d; `lathe data lint` lists them", r.corpus.warnings))
	}
	if r.config.EvalStrategy != StrategyNo && r.evaluation == nil {
		r.notice("eval_strategy: there is no validation_file or validation_split; nothing is evaluated")
	}
}
