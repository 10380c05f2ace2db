package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lathe/internal/performance"
)

const benchHead = " what:s date:s device:s tier:s threads:n peak:o peak_memory:n"

// bench runs a bench that measures the peak for no longer than it has to.
func bench(t *testing.T, args string) output {
	t.Helper()
	return lathe(t, append(strings.Fields("bench --json --peak-time 50ms"), strings.Fields(args)...)...)
}

// okBench is bench where that must succeed.
func okBench(t *testing.T, args string) output {
	t.Helper()
	out := bench(t, args)
	if out.code != exitDone {
		t.Fatalf("lathe bench %s: exit %d\n%s", args, out.code, out.stderr)
	}
	return out
}

func TestBenchTrain(t *testing.T) {
	o := okBench(t, "train --size 1m --batch 1 --length 32 --steps 1").object(t)
	o.wants(t, "bench", "tokens_per_second:n share_of_sgemm_peak:n share_of_product_peak:n padding:n operations:l mflop_per_token:n"+benchHead)
	if share := o["share_of_sgemm_peak"].(float64); !(share > 0 && share < 1.5) {
		t.Errorf("share of the peak: %v", share)
	}
	var shares float64
	for _, row := range o["operations"].([]any) {
		op := object(row.(map[string]any))
		op.wants(t, "operation", "name:s calls:n seconds:n flops:n bytes:n gflops:n gb_s:n share:n")
		shares += op["share"].(float64)
	}
	if shares < 0.999 || shares > 1.001 {
		t.Errorf("the operations' shares come to %v, want 1", shares)
	}
}

// The GPU's operations are timed by its own events, those of the loss too, and come to the whole with what lies between them.
func TestBenchTrainOnCUDA(t *testing.T) {
	emulated(t)
	o := okBench(t, "train --device cuda --size 1m --batch 1 --length 16 --steps 1 --method qlora --dtype bfloat16").object(t)
	o.wants(t, "bench", "tokens_per_second:n share_of_product_peak:n operations:l peak_memory:n")
	var shares float64
	names := map[string]bool{}
	for _, row := range o["operations"].([]any) {
		op := row.(map[string]any)
		names[op["name"].(string)] = true
		shares += op["share"].(float64)
		if op["seconds"].(float64) < 0 {
			t.Errorf("%v took %v s", op["name"], op["seconds"])
		}
	}
	if shares < 0.999 || shares > 1.001 || !names["LinearCrossEntropy"] || !names["AttentionBackward"] || !names[performance.Between] {
		t.Errorf("shares of %v come to %v", names, shares)
	}
}

// What is kept is what `lathe train` takes, and a second bench trains the same model.
func TestBenchKeeps(t *testing.T) {
	dir := t.TempDir()
	okBench(t, "train --size 1m --rows ragged --batch 2 --steps 0 --keep "+dir)
	ok(t, "train", "-c", filepath.Join(dir, "run.yaml"), "--max-steps", "2", "--json", "--device", "cpu")
	o := okBench(t, "train --steps 1 --model "+filepath.Join(dir, "model")+" --data "+filepath.Join(dir, "rows.jsonl")).object(t)
	o.wants(t, "bench", "rows:s tokens_per_second:n mflop_per_token:n")
	if o["rows"] != "rows.jsonl" || o["mflop_per_token"].(float64) <= 0 {
		t.Errorf("rows %v, %v MFLOP a token", o["rows"], o["mflop_per_token"])
	}
	out := bench(t, "train --size 3m --steps 0 --keep "+dir)
	if out.code != exitUsage || !strings.Contains(out.stderr, "another model") {
		t.Errorf("another model was there: exit %d, %s", out.code, out.stderr)
	}
}

func TestBenchFields(t *testing.T) {
	t.Setenv(childVariable, "1") // bench start starts this program
	for _, c := range []struct{ args, keys string }{
		{"generate --size 1m --tokens 4 --prompt 8 --batch 2", "tokens_per_second:n prompt_tokens_per_second:n batched_tokens_per_second:n batched_ratio:n shared_prefix_tokens:n shared_prompt_tokens:n shared_tokens_per_second:n shared_one_by_one_tokens_per_second:n shared_ratio:n bytes_per_token:n share_of_read_peak:n operations:l"},
		{"score --size 1m --rows 3", "tokens_per_second:n one_by_one_tokens_per_second:n batched_ratio:n operations:l"},
		{"tokenize --megabytes 1", "mb_per_second:n all_cores_mb_per_second:n tokens:n bytes:n tokenizer:s source:s"},
		{"lint --megabytes 1", "mb_per_second:n walk_mb_per_second:n of_walk:n all_cores_mb_per_second:n"},
		{"start --size 1m", "first_step_seconds:n steady_step_seconds:n start_seconds:n start_again_seconds:n version_seconds:n"},
	} {
		what, _, _ := strings.Cut(c.args, " ")
		t.Run(what, func(t *testing.T) {
			line := okBench(t, c.args)
			line.object(t).wants(t, what, c.keys+benchHead)
			var f performance.File
			if err := f.Add([]byte(line.stdout)); err != nil { // where docs/PERFORMANCE.md is made of
				t.Error(err)
			}
		})
	}
}

func TestBenchWorkbench(t *testing.T) {
	o := okBench(t, "workbench --size 1m --length 16 --rows 200 --pairs 1 --phase 2").object(t)
	o.wants(t, "bench", "size:s length:n rows:n keys_per_second:n headless_tokens_per_second:n open_tokens_per_second:n pairs:n ratio:n "+
		"ratio_from:n ratio_to:n ratio_lowest:n ratio_highest:n bytes_per_second:n"+benchHead)
	for _, name := range []string{"headless_tokens_per_second", "open_tokens_per_second", "ratio", "bytes_per_second"} {
		if v := o[name].(float64); !(v > 0) {
			t.Errorf("%s is %v", name, v)
		}
	}
}

func TestMedianRanks(t *testing.T) {
	// By the binomial distribution ranks 2 and 9 of 10, 14 and 27 of 40, counted from 1, hold the median with at least 95%.
	for n, want := range map[int][2]int{1: {0, 0}, 10: {1, 8}, 40: {13, 26}} {
		if from, to := medianRanks(n); from != want[0] || to != want[1] {
			t.Errorf("of %d: %d and %d, want %v", n, from, to, want)
		}
	}
}

func TestBenchRefuses(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"train --dtype float16":         "--dtype",
		"train --rows wide":             "--rows",
		"train --sweep nothing":         "--sweep",
		"generate --tokens 1":           "--tokens",
		"generate --shared -1":          "--shared",
		"score --rows 0":                "--rows",
		"lint --megabytes 0":            "--megabytes",
		"generate --size 5":             "--size",
		"lint --device cuda":            "--device",
		"tokenize --data no-such.jsonl": "no-such.jsonl",
	} {
		out := bench(t, args)
		if out.code != exitUsage || !strings.Contains(out.stderr, want) {
			t.Errorf("bench %s: exit %d, %q, want %d and %q", args, out.code, out.stderr, exitUsage, want)
		}
	}
}

// The rows that are made are sound: lint finds no error in them, and as many bytes as were asked for.
func TestGeneratedRows(t *testing.T) {
	t.Parallel()
	text := generatedRows(1 << 18)
	if len(text) < 1<<18 {
		t.Fatalf("%d bytes", len(text))
	}
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out := lathe(t, "data", "lint", path, "--json"); out.code != exitDone {
		t.Errorf("exit %d: %s", out.code, out.stdout[:min(len(out.stdout), 400)])
	}
}
