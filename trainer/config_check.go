package trainer

import (
	"errors"
	"math"
	"slices"

	"lathe/datasets"
)

// Validate reports everything in the config that cannot be, one line each; the errors match [ErrConfig].
func (c Config) Validate() error { return errors.Join(c.faults()...) }

// faults lists what cannot be. Every text begins with the key, a colon, and says how to mend it.
func (c Config) faults() []error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, faultf(0, format, args...))
		}
	}
	c.checkFiles(fault)
	c.checkMethod(fault)
	c.checkOptimizer(fault)
	c.checkCourse(fault)
	return faults
}

type faultFunc func(bad bool, format string, args ...any)

func (c Config) checkFiles(fault faultFunc) {
	fault(c.ModelNameOrPath == "", "model_name_or_path: missing; give the model's folder")
	fault(len(c.TrainFile) == 0 || slices.Contains(c.TrainFile, ""), "train_file: missing; give a file or a list of files")
	fault(slices.Contains(c.ValidationFile, ""), "validation_file: a name is empty")
	fault(c.OutputDir == "", "output_dir: missing; give the folder for checkpoints and the result")
	fault(!between(c.ValidationSplit, 0, 0.9), "validation_split: %v is no share of the rows; give one from 0 to 0.9, such as 0.05", c.ValidationSplit)
	fault(c.ValidationSplit > 0 && len(c.ValidationFile) > 0, "validation_split: validation_file is given too; keep one of them")
	if _, err := datasets.ParseFormat(c.Format); err != nil {
		fault(true, "format: %v", err)
	}
}

func (c Config) checkOptimizer(fault faultFunc) {
	switch c.Optim {
	case "adamw", "adamw_torch", "adamw_hf": // transformers' spellings of the same formula
	case "adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit":
	default:
		fault(true, "optim: %q is unknown; use adamw or adamw_8bit", c.Optim)
	}
	fault(!finite(c.LearningRate) || c.LearningRate < 0, "learning_rate: %v is no rate; give a number from 0 up, such as 2e-4", c.LearningRate)
	fault(!finite(c.WeightDecay) || c.WeightDecay < 0, "weight_decay: %v; give a number from 0 up", c.WeightDecay)
	fault(!(c.AdamBeta1 >= 0 && c.AdamBeta1 < 1), "adam_beta1: %v; give a number from 0 to below 1", c.AdamBeta1)
	fault(!(c.AdamBeta2 >= 0 && c.AdamBeta2 < 1), "adam_beta2: %v; give a number from 0 to below 1", c.AdamBeta2)
	fault(!finite(c.AdamEpsilon) || c.AdamEpsilon <= 0, "adam_epsilon: %v; give a small number above 0, such as 1e-8", c.AdamEpsilon)
	fault(!finite(c.MaxGradNorm) || c.MaxGradNorm < 0, "max_grad_norm: %v; give a number above 0, or 0 not to clip", c.MaxGradNorm)
	fault(c.FP16 && c.BF16, "fp16: bf16 is on too; keep one of them")
}

func (c Config) checkCourse(fault faultFunc) {
	schedules := []Schedule{ScheduleLinear, ScheduleCosine, ScheduleConstant, ScheduleConstantWithWarmup}
	fault(!slices.Contains(schedules, c.Schedule), "lr_scheduler_type: %q is none of linear, cosine, constant, constant_with_warmup", c.Schedule)
	fault(c.BatchSize < 1, "per_device_train_batch_size: %d; give 1 or more", c.BatchSize)
	fault(c.EvalBatchSize < 0, "per_device_eval_batch_size: %d; give 1 or more, or leave it out", c.EvalBatchSize)
	fault(c.GradAccum < 1, "gradient_accumulation_steps: %d; give 1 or more", c.GradAccum)
	fault(c.BatchSize > 1<<20, "per_device_train_batch_size: %d is more than any device holds", c.BatchSize)
	fault(c.GradAccum > 1<<20, "gradient_accumulation_steps: %d is more than a million", c.GradAccum)
	fault(c.MaxSteps < 0, "max_steps: %d; give 1 or more, or leave it out", c.MaxSteps)
	fault(c.MaxSteps == 0 && !(c.Epochs > 0 && c.Epochs <= 1e6), "num_train_epochs: %v; give a number above 0, such as 3, or max_steps", c.Epochs)
	fault(c.WarmupSteps < 0, "warmup_steps: %d; give 0 or more", c.WarmupSteps)
	fault(!between(c.WarmupRatio, 0, 1), "warmup_ratio: %v is no share of the steps; give one from 0 to 1", c.WarmupRatio)
	fault(c.MaxSeqLength < 2, "max_seq_length: %d; give 2 or more, such as 1024", c.MaxSeqLength)
	fault(c.LoggingSteps < 1, "logging_steps: %d; give 1 or more", c.LoggingSteps)
	fault(!slices.Contains(strategies, c.EvalStrategy), "eval_strategy: %q is none of no, steps, epoch", c.EvalStrategy)
	fault(!slices.Contains(strategies, c.SaveStrategy), "save_strategy: %q is none of no, steps, epoch", c.SaveStrategy)
	fault(c.EvalSteps < 0, "eval_steps: %d; give 1 or more", c.EvalSteps)
	fault(c.SaveSteps < 0, "save_steps: %d; give 1 or more", c.SaveSteps)
	fault(c.EvalStrategy == StrategySteps && c.EvalSteps == 0, "eval_steps: missing; eval_strategy: steps needs it")
	fault(c.SaveStrategy == StrategySteps && c.SaveSteps == 0, "save_steps: missing; save_strategy: steps needs it")
	fault(c.SaveTotalLimit < 0, "save_total_limit: %d; give 1 or more, or leave it out to keep all", c.SaveTotalLimit)
	fault(c.Patience < 0, "early_stopping_patience: %d; give 1 or more, or 0 not to stop early", c.Patience)
	fault(c.Patience > 0 && !c.Evaluates(), "early_stopping_patience: it watches eval_loss; give validation_file or validation_split, and an eval_strategy")
}

var strategies = []Strategy{StrategyNo, StrategySteps, StrategyEpoch}

func between(x, low, high float64) bool { return x >= low && x <= high }

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
