package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// resume trains 20 steps in one process, and 10 and 10 in two, and compares every bit. Dropout, shuffling and bfloat16 are on where
// the method has them.
func resume(c *check) error {
	steps := 20
	methods := []string{"qlora", "lora", "full", "full-adamw8"}
	if c.Quick {
		steps, methods = 2, methods[:1]
	}
	t := c.table(fmt.Sprintf("%d steps and %d + %d", steps, steps/2, steps-steps/2), "run", "first loss", "last loss", "last losses equal")
	for _, method := range methods {
		if !c.left(0) {
			c.fail("no time was left for %s", method)
			break
		}
		if err := c.resumed(t, method, steps); err != nil {
			c.fail("%s: %v", method, err)
		}
	}
	return nil
}

func (c *check) resumed(t *table, method string, steps int) error {
	whole, err := c.lively(method, filepath.Join(c.Work, method+"-whole"))
	if err != nil {
		return err
	}
	straight, err := c.latheTrain(whole, "--stop-after", fmt.Sprint(steps))
	if err != nil {
		return err
	}
	out := filepath.Join(c.Work, method+"-halves")
	halves, err := c.lively(method, out)
	if err != nil {
		return err
	}
	if _, err := c.latheTrain(halves, "--stop-after", fmt.Sprint(steps/2)); err != nil {
		return err
	}
	second, err := c.latheTrain(halves, "--stop-after", fmt.Sprint(steps), "--resume", out)
	if err != nil {
		return err
	}
	if len(straight.steps) != steps || len(second.steps) != steps-steps/2 {
		return fmt.Errorf("%d and %d steps were told, %d and %d wanted", len(straight.steps), len(second.steps), steps, steps-steps/2)
	}
	last, again := straight.steps[steps-1].Loss, second.steps[len(second.steps)-1].Loss
	c.row(t, method, straight.steps[0].Loss, last, fmt.Sprint(last == again))
	c.sameFiles(method, filepath.Join(c.Work, method+"-whole"), out)
	return nil
}

// lively writes the llama's reference run with output_dir out and with all that could make a resume differ: dropout, shuffling, an
// adapter drawn from the seed, bfloat16 products.
func (c *check) lively(run, out string) (path string, err error) {
	folder := c.testdata("llama-gqa", "train-"+run)
	text, err := os.ReadFile(filepath.Join(folder, "run.yaml"))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "model_name_or_path", "train_file":
			line = fmt.Sprintf("%s: %q\n", key, filepath.Join(folder, value))
		case "output_dir":
			line = fmt.Sprintf("output_dir: %q\n", out)
		case "adapter_name_or_path":
			line = ""
		case "lora_dropout":
			line = "  lora_dropout: 0.1\n"
		case "shuffle":
			line = "shuffle: true\n"
		case "bnb_4bit_compute_dtype":
			line = "bnb_4bit_compute_dtype: bfloat16\n"
		}
		b.WriteString(line)
	}
	if run == "lora" {
		b.WriteString("bf16: true\n")
	}
	path = out + ".yaml"
	return path, os.WriteFile(path, []byte(b.String()), 0o644)
}
