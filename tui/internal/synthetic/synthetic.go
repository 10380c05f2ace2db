// Package synthetic makes session views of a made-up run, the same on every call, by folding events as a session does: for
// goldens, fuzz tests and for looking at screens without training anything.
package synthetic

import (
	"fmt"
	"math"
	"time"

	"lathe/datasets"
	"lathe/session"
	"lathe/trainer"
)

// Start is when the made-up run began.
var Start = time.Date(2026, 5, 4, 9, 30, 0, 0, time.UTC)

// Steps is how many steps the made-up run has in all.
const Steps = 600

const (
	mib      = 1 << 20
	perEpoch = 200
	interval = 340 * time.Millisecond
)

// Config is the made-up run's run.yaml.
func Config() trainer.Config {
	c := trainer.DefaultConfig()
	c.ModelNameOrPath, c.TrainFile, c.OutputDir = "models/llama-60m", []string{"data/support.jsonl"}, "runs/refund"
	c.Method, c.LoadIn4bit = trainer.MethodQLoRA, true
	return c
}

// Plan is the made-up run's forecast.
func Plan() trainer.Plan {
	return trainer.Plan{
		Steps: Steps, StepsPerEpoch: perEpoch, Epochs: 3, WarmupSteps: 18, Rows: 3200, EvalRows: 160,
		Tokens: 4_915_200, TrainedTokens: 1_843_200, EpochTokens: 1_638_400, Longest: 812, BatchTokens: 3248,
		Parameters: 62_914_560, Trainable: 1_179_648, CheckpointSize: 14_155_776,
		Memory: trainer.MemoryPlan{
			Base: 48 * mib, Adapters: 4718592, Gradients: 4718592, Optimizer: 9437184, Activations: 311 * mib, KV: 24 * mib, Workspace: 17 * mib,
		},
		Available: 7 << 30, Fits: true, SecondsEstimate: 204, LargestBatch: 84, Verdict: "fits: 394 MiB of 7.0 GiB free",
		Offers: []trainer.Saving{
			{Set: map[string]any{"gradient_checkpointing": true}, Saves: 259 * mib, Total: 135 * mib, Fits: true, LargestBatch: 402, Cost: "each block is computed twice"},
			{Set: map[string]any{"optim": "adamw_8bit"}, Saves: 7 * mib, Total: 387 * mib, Fits: true, LargestBatch: 84, Cost: "moments are rounded to 8 bits"},
			{Set: map[string]any{"max_seq_length": 512}, Saves: 115 * mib, Total: 279 * mib, Fits: true, LargestBatch: 131, Cost: "14 rows are cut"},
		},
		Notices: []string{"bnb_4bit_compute_dtype: this device multiplies no bfloat16; computed in float32"},
	}
}

// Tape is a workspace's view and the clock of its events.
type Tape struct {
	View session.View
	at   time.Time
	run  int64
}

// New is an empty workspace.
func New() *Tape { return &Tape{at: Start} }

// Add folds bodies, one after the other, without time passing.
func (t *Tape) Add(bodies ...session.Body) *Tape {
	for _, b := range bodies {
		t.View.Apply(session.Event{Seq: 1, Run: t.run, Time: t.at, Body: b})
	}
	return t
}

// Train folds an event of the trainer.
func (t *Tape) Train(e trainer.Event) *Tape { return t.Add(session.Training{Event: e}) }

// Loaded puts the run.yaml on the table, its data on screen and checked.
func (t *Tape) Loaded() *Tape {
	plan := Plan()
	return t.Add(
		session.ConfigLoaded{Path: "run.yaml", Config: Config()},
		session.DataOpened{Path: "data/support.jsonl"},
		session.DataIndexed{Rows: 3200, Part: 1, Done: true},
		session.Forecast{Plan: &plan},
		session.LintStarted{Path: "data/support.jsonl"},
		session.Linted{
			Path: "data/support.jsonl",
			Findings: []datasets.Finding{
				{File: "data/support.jsonl", Line: 18, Row: 17, Field: "output", Code: "no-eos", Level: datasets.LevelWarn, Message: "the answer does not end its turn"},
				{File: "data/support.jsonl", Line: 941, Row: 940, Field: "output", Code: "empty-answer", Level: datasets.LevelWarn, Message: "the answer is empty"},
			},
			Summary: datasets.Summary{Rows: 3200, Warnings: 2},
		},
	)
}

// Started begins the run up to its first step.
func (t *Tape) Started() *Tape {
	t.run = 1
	t.Add(session.RunCreated{Name: "refund", Config: Config()}, session.Planned{Plan: Plan()}, session.StateChanged{State: session.Running})
	return t.Train(trainer.Notice{Message: Plan().Notices[0]}).sample()
}

// To trains up to and with a step: an evaluation and a checkpoint at each quarter of an epoch.
func (t *Tape) To(step int) *Tape {
	for s := t.View.Run.Step + 1; s <= step; s++ {
		t.at = t.at.Add(interval)
		t.Train(Step(s)).sample()
		if s%(perEpoch/4) == 0 {
			loss := Loss(s) + 0.12 + 0.03*math.Sin(float64(s))
			t.Train(trainer.EvalDone{Step: s, Epoch: float64(s) / perEpoch, EvalLoss: loss, Perplexity: math.Exp(loss), Best: true, Tokens: 21_330, Seconds: 1.4})
		}
		if s%(perEpoch/2) == 0 {
			t.Train(trainer.Saved{Step: s, Path: fmt.Sprintf("runs/refund/checkpoint-%d", s), Bytes: 14_155_776})
		}
	}
	return t
}

// Pause halts the run after its last step.
func (t *Tape) Pause() *Tape {
	t.Train(trainer.Paused{Step: t.View.Run.Step})
	return t.Add(session.StateChanged{State: session.Paused})
}

// Resume goes on with it.
func (t *Tape) Resume() *Tape {
	t.Train(trainer.Resumed{Step: t.View.Run.Step})
	return t.Add(session.StateChanged{State: session.Running})
}

// Done ends the run at its last step.
func (t *Tape) Done() *Tape {
	t.To(Steps)
	best := t.View.Run.Evals[len(t.View.Run.Evals)-1]
	t.Train(trainer.Saved{Step: Steps, Path: "runs/refund", Bytes: 14_155_776})
	t.Train(trainer.Done{
		Step: Steps, Reason: "finished", Path: "runs/refund", Loss: 1.61, Tokens: 4_915_200, Seconds: 204.5, TokensPerSec: 24_035,
		BestStep: best.Step, BestEvalLoss: best.EvalLoss, BestPath: "runs/refund/checkpoint-600",
	})
	return t.Add(session.StateChanged{State: session.Done})
}

// Spiked trains on with a loss far above the others at the next step.
func (t *Tape) Spiked() *Tape {
	step := t.View.Run.Step + 1
	t.at = t.at.Add(interval)
	high := Step(step)
	high.Loss *= 4
	t.Train(trainer.Spike{Step: step, Loss: high.Loss, Median: Loss(step), Z: 9.3, Rows: []string{"data/support.jsonl:941", "data/support.jsonl:18"}})
	return t.Train(high).sample()
}

// Broken ends the run by the guard at the step after its last.
func (t *Tape) Broken() *Tape {
	step := t.View.Run.Step
	bad := &trainer.NonFiniteError{
		Step: step + 1, What: "the loss is NaN", Where: "layer 17, self_attn.v_proj: output", Layer: 17, RateScale: 1,
		Rows:       []string{"data/support.jsonl:941", "data/support.jsonl:18"},
		Checkpoint: fmt.Sprintf("runs/refund/checkpoint-%d", step/100*100), Before: fmt.Sprintf("runs/refund/before-step-%d", step+1),
	}
	t.Train(trainer.Failed{Step: step, Error: bad.Error(), Checkpoint: bad.Checkpoint, NonFinite: bad})
	return t.Add(session.StateChanged{State: session.Failed, Reason: bad.Error()})
}

// Again goes on with the run from a step, as RollBack and its like do.
func (t *Tape) Again(step int, resume string, rows []string, scale float64) *Tape {
	t.run++
	t.Add(session.RunCreated{Name: "refund", Config: Config(), Resume: resume, SkipRows: rows, RateScale: scale})
	t.Add(session.Planned{Plan: Plan()}, session.StateChanged{State: session.Running})
	started := trainer.Started{Step: step, Plan: Plan(), ResumedFrom: resume, RateScale: scale}
	for _, row := range rows {
		started.SkipRows = append(started.SkipRows, trainer.SkippedRow{Row: row, From: step + 1})
	}
	return t.Train(started).sample()
}

func (t *Tape) sample() *Tape {
	used := int64(395 * mib)
	return t.Add(session.MemorySampled{Used: used, Peak: used + 7*mib, Free: 7<<30 - used, Total: 8 << 30})
}

// GPU gives the run a GPU that another process uses as well.
func (t *Tape) GPU() *Tape {
	return t.Add(session.GaugesRead{GPUs: []session.Gauge{{
		Label: "GPU 0", Name: "NVIDIA RTX A2000", InUse: true, Total: 8 << 30, Used: 4092 * mib, Own: 912 * mib,
		Others: []session.Holder{{Name: "python3 (pid 4242)", Bytes: 3072 * mib}}, Busy: 95, Power: 65, PowerLimit: 70, Temperature: 72,
		ClockSM: 1905, ClockMemory: 6001, Throttle: []string{"power cap"},
	}}})
}

// GPUs gives the run a host of eight GPUs of which it uses the first n; the last one is lost.
func (t *Tape) GPUs(n int) *Tape {
	var all []session.Gauge
	for i := range 8 {
		g := session.Gauge{
			Label: fmt.Sprintf("GPU %d", i), Name: "NVIDIA H200", Total: 141 << 30, Used: 528 * mib, Own: session.Unknown, Power: 120, PowerLimit: 700,
			Temperature: 31, ClockSM: 345, ClockMemory: 2619,
		}
		switch {
		case i < n:
			g.InUse, g.Used, g.Own, g.Busy, g.Power, g.Temperature, g.ClockSM = true, int64(61-i)<<30, int64(61-i)<<30-544*mib, 100-5*i, 680-10*i, 66-2*i, 1980
		case i == 7:
			g = session.Gauge{Label: g.Label, Total: session.Unknown, Used: session.Unknown, Own: session.Unknown, Note: "the GPU is lost (fallen off the bus, or reset): restart the machine"}
		case i > 4:
			g.Used, g.Busy, g.Power, g.Temperature = 88<<30, 100, 690, 70
			g.Others = []session.Holder{{Name: fmt.Sprintf("VLLM::EngineCor (pid %d)", 900+i), Bytes: 87 << 30}}
		}
		all = append(all, g)
	}
	return t.Add(session.GaugesRead{GPUs: all})
}

// NoGauges gives the run a GPU whose gauges cannot be read.
func (t *Tape) NoGauges() *Tape {
	return t.Add(session.GaugesRead{Err: "open NVML: no permission: this user must be able to read and write /dev/nvidiactl and /dev/nvidia0 and so on"})
}

// Loss is a falling curve with noise.
func Loss(step int) float64 {
	x := float64(step)
	noise := math.Sin(x*12.9898) * 43758.5453
	return 0.95 + 2.6*math.Exp(-x/110) + (noise-math.Floor(noise)-0.5)*0.22
}

// Step is one step of the made-up run.
func Step(s int) trainer.StepDone {
	x := float64(s)
	warm := min(x/18, 1)
	rate := 2e-4 * warm
	if s > 18 {
		rate = 2e-4 * float64(Steps-s) / (Steps - 18)
	}
	return trainer.StepDone{
		Step: s, Epoch: x / perEpoch, Loss: Loss(s), LearningRate: rate, GradNorm: 0.4 + 1.8*math.Exp(-x/60) + 0.1*math.Sin(x),
		Tokens: 8192, TokensPerSec: 24_000 + 600*math.Sin(x/9), TrainedTokens: 3072, TotalTokens: int64(s) * 8192, TotalSteps: Steps,
		SecondsLeft: float64(Steps-s) * interval.Seconds(), MemoryPeak: 402 * mib,
	}
}

// At is a run that has trained a number of steps, paused and resumed at a third of them; 0 shows a run.yaml on the table, a
// negative number an empty workspace.
func At(step int) *Tape {
	t := New()
	switch {
	case step < 0:
		return t
	case step == 0:
		return t.Loaded()
	}
	return t.Loaded().Started().To(step / 3).Pause().Resume().To(step)
}
