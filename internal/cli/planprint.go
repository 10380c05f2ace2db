package cli

import (
	"errors"
	"fmt"

	"lathe/trainer"
)

// printPlan prints a forecast; one that does not fit is a failure.
func (e *env) printPlan(p trainer.Plan) error {
	switch {
	case e.json:
		if err := writeJSON(e.stdout, p); err != nil {
			return err
		}
	default:
		fmt.Fprintln(e.stdout, p.Verdict)
		table(e.stdout, planTable(p))
		if rows := offerTable(p); len(rows) > 1 {
			fmt.Fprintln(e.stdout)
			table(e.stdout, rows)
		}
		for _, n := range p.Notices {
			fmt.Fprintln(e.stdout, n)
		}
	}
	switch {
	case p.Fits:
		return nil
	case e.json:
		return errQuiet
	}
	return errors.New(p.Verdict)
}

func planTable(p trainer.Plan) [][]string {
	rows := [][]string{
		{"steps", fmt.Sprintf("%s (%s an epoch, %.4g epochs)", count(int64(p.Steps)), count(int64(p.StepsPerEpoch)), p.Epochs)},
		{"rows", fmt.Sprintf("%s, longest %s tokens, %d cut", count(int64(p.Rows)), count(int64(p.Longest)), p.CutRows)},
		{"tokens", fmt.Sprintf("%s, %s of them trained", count(p.Tokens), count(p.TrainedTokens))},
		{"parameters", fmt.Sprintf("%s, %s of them trained", count(p.Parameters), count(p.Trainable))},
	}
	for _, m := range []struct {
		name  string
		bytes int64
	}{
		{"base", p.Memory.Base},
		{"adapters", p.Memory.Adapters},
		{"gradients", p.Memory.Gradients},
		{"optimizer", p.Memory.Optimizer},
		{"activations", p.Memory.Activations},
		{"kv cache", p.Memory.KV},
		{"workspace", p.Memory.Workspace},
		{"group", p.Memory.Group},
		{"memory", p.Memory.Total()},
		{"loading", p.Memory.Loading},
		{"available", p.Available},
		{"checkpoint", p.CheckpointSize},
	} {
		if m.name != "group" || m.bytes > 0 {
			rows = append(rows, []string{m.name, bytesText(m.bytes)})
		}
	}
	if p.Ranks > 1 {
		rows = append(rows, []string{"devices", fmt.Sprintf("%d, %s rows a step together (per_device_train_batch_size × gradient_accumulation_steps × devices)", p.Ranks, count(int64(p.GlobalBatch)))})
	}
	for i, d := range p.Devices {
		fits := "fits"
		if !d.Fits {
			fits = "does not fit"
		}
		rows = append(rows, []string{fmt.Sprintf("device %d", i), fmt.Sprintf("%s: %s free, %s", d.Name, bytesText(d.Available), fits)})
	}
	if p.Available > 0 {
		rows = append(rows, []string{"batch", fmt.Sprintf("%s rows fit at most (per_device_train_batch_size)", count(int64(p.LargestBatch)))})
	}
	if p.SecondsEstimate > 0 {
		rows = append(rows, []string{"time", "about " + shortDuration(p.SecondsEstimate)})
	}
	return rows
}

// offerTable says what each saving would buy.
func offerTable(p trainer.Plan) [][]string {
	rows := [][]string{{"to save memory", "saves", "takes", "fits", "batch", "at the cost of"}}
	for _, o := range p.Offers {
		fits := "no"
		if o.Fits {
			fits = "yes"
		}
		rows = append(rows, []string{o.Text(), bytesText(o.Saves), bytesText(o.Total), fits, count(int64(o.LargestBatch)), o.Cost})
	}
	return rows
}
