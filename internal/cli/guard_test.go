package cli

import (
	"strings"
	"testing"
)

// A rate that throws the weights away: exit code 1, one line with the place and the rows, and the three commands that go on,
// each of which can be typed as it stands. With --json the facts are in the failed event.
func TestGuardOffersCommands(t *testing.T) {
	dir := t.TempDir()
	c := tiny(t, dir, config{"method": "full", "learning_rate": 1e30, "warmup_steps": 3, "max_steps": 10, "save_strategy": "steps", "save_steps": 1})
	yaml := c.save(t, dir, "run.yaml")
	out := lathe(t, "train", "-c", yaml, "--workspace", dir, "--json")
	if out.code != 1 {
		t.Fatalf("exit code %d: %s", out.code, out.stderr)
	}
	failed := events(out.objects(t), "failed")
	if len(failed) != 1 {
		t.Fatalf("%d failed events", len(failed))
	}
	facts, ok := failed[0]["non_finite"].(map[string]any)
	if !ok || facts["what"] == "" || facts["step"] == nil || facts["checkpoint"] == "" {
		t.Fatalf("%v", failed[0])
	}
	offers := map[string][]string{}
	for line := range strings.Lines(out.stderr) {
		if offer, command, ok := strings.Cut(strings.TrimSpace(line), ": lathe "); ok {
			offers[strings.TrimPrefix(offer, "lathe: to ")] = strings.Fields(command)
		}
	}
	for _, name := range []string{"roll back", "halve the rate"} {
		if len(offers[name]) == 0 {
			t.Fatalf("no command to %s: %s", name, out.stderr)
		}
	}
	halve := append(offers["halve the rate"], "--workspace", dir, "--json")
	again := lathe(t, halve...) // half of far too much is too much
	if again.code != 1 || len(events(again.objects(t), "started")) != 1 {
		t.Errorf("exit code %d: %s", again.code, again.stderr)
	}
	if !strings.Contains(again.stderr, "--learning-rate-scale 0.25") {
		t.Errorf("the second offer is not a quarter: %s", again.stderr)
	}
	sane := lathe(t, "train", "-c", yaml, "--workspace", dir, "--json", "--resume", c["output_dir"].(string)+"/checkpoint-1", "--learning-rate-scale", "1e-33")
	if done := events(sane.objects(t), "done"); sane.code != 0 || len(done) != 1 {
		t.Errorf("exit code %d: %s", sane.code, sane.stderr)
	}
}

// Wrong values of the two options are bad usage, one line each.
func TestGuardOptionsRefused(t *testing.T) {
	dir := t.TempDir()
	yaml := tiny(t, dir, nil).save(t, dir, "run.yaml")
	for _, test := range [][3]string{
		{"--skip-rows", "rows", "names no row"},
		{"--skip-rows", "none.jsonl:3", "none of the training files"},
		{"--learning-rate-scale", "-1", "give a number above 0"},
		{"--learning-rate-scale", "0", "give a number above 0"},
		{"--learning-rate-scale", "NaN", "give a number above 0"},
	} {
		refusal(t, lathe(t, "train", "-c", yaml, "--workspace", dir, test[0]+"="+test[1]), 2, test[2])
	}
}
