package trainer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"encoding/json"
	"fmt"

	"lathe/compute"
	"lathe/datasets"
)

// Data parallel training: each rank of a [compute.Group] holds the whole model on a device of its own. A step's micro-batches
// are those of one device with gradient_accumulation_steps × ranks, in the same order with the same dropout; rank r computes
// every micro-batch i with i mod ranks = r. Gradients are summed over the ranks, then every rank clips and steps alike, so that
// all hold the same weights. Rank 0 alone is steered, tells events and writes; what it decides at a border all do there.

// alone is the group of a run on one device.
type alone struct{}

func (alone) Rank() int                               { return 0 }
func (alone) Size() int                               { return 1 }
func (alone) SumAll([]compute.Buffer) error           { return nil }
func (alone) Broadcast([]compute.Buffer) error        { return nil }
func (alone) Gather(message []byte) ([][]byte, error) { return [][]byte{message}, nil }
func (alone) Err() error                              { return nil }
func (alone) Release() error                          { return nil }
func (alone) Abandon(error)                           {}
func (alone) Close() error                            { return nil }

// gather hands every rank the values of all.
func gather[T any](g compute.Group, mine T) ([]T, error) {
	if g.Size() == 1 {
		return []T{mine}, nil
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(&mine); err != nil {
		return nil, fmt.Errorf("tell the other ranks: %w", err)
	}
	messages, err := g.Gather(b.Bytes())
	if err != nil {
		return nil, err
	}
	all := make([]T, len(messages))
	for r, m := range messages {
		if err := gob.NewDecoder(bytes.NewReader(m)).Decode(&all[r]); err != nil {
			return nil, fmt.Errorf("understand rank %d: %w", r, err)
		}
	}
	return all, nil
}

// leads says that this process writes, tells and is steered.
func (r *Run) leads() bool { return r.group.Rank() == 0 }

// mine says whether this rank computes a micro-batch.
func (r *Run) mine(micro int) bool { return micro%r.group.Size() == r.group.Rank() }

// identity is what all ranks of a run have to have in common.
type identity struct {
	Config [32]byte
	Data   fingerprints
	Resume string // the checkpoint, as rank 0 found it
	Step   int
	Steps  int
}

// meet makes sure that all ranks are about to train the same run, and gives them rank 0's trained weights and moments.
func (r *Run) meet() error {
	if r.group.Size() == 1 {
		return nil
	}
	text, err := json.Marshal(r.sharedConfig())
	if err != nil {
		return err
	}
	all, err := gather(r.group, identity{Config: sha256.Sum256(text), Data: r.state.Fingerprints, Resume: r.resumed.path, Step: r.state.Step, Steps: r.plan.Steps})
	if err != nil {
		return err
	}
	for rank, other := range all {
		for _, d := range []struct {
			differs bool
			what    string
		}{
			{other.Config != all[0].Config, "another run.yaml, or other options of train,"},
			{other.Data.Model != all[0].Data.Model, "another model in model_name_or_path"},
			{other.Data.Train != all[0].Data.Train, "other rows in train_file"},
			{other.Data.Validation != all[0].Data.Validation, "other validation rows"},
			{other.Step != all[0].Step || other.Steps != all[0].Steps, "other steps"},
		} {
			if d.differs {
				return fmt.Errorf("rank %d has %s than rank 0: give all ranks the same files and options", rank, d.what)
			}
		}
	}
	return r.group.Broadcast(append(r.optimizer.values(), r.optimizer.state))
}

// sharedConfig is what a run computes from, by the keys of run.yaml: all but the places of files, which may differ from host to
// host.
func (r *Run) sharedConfig() map[string]any {
	c := r.config
	c.ModelNameOrPath, c.AdapterNameOrPath, c.OutputDir, c.TrainFile, c.ValidationFile = "", "", "", nil, nil
	keys := configKeys(c)
	keys["stop_after"], keys["skip_rows"], keys["rate_scale"] = r.stopAfter, rowList(r.skips.rows), r.state.rateScale()
	return keys
}

// found is how rank 0 tells the others where to go on from.
type found struct{ Path string }

// claimAs is claim for one of several ranks: rank 0 claims output_dir and chooses the checkpoint, the others read that one.
func (r *Run) claimAs(resume string) (from state, err error) {
	if r.leads() {
		if from, err = r.claim(resume); err != nil {
			return state{}, err
		}
	}
	all, err := gather(r.group, found{r.resumed.path})
	if err != nil || r.leads() || resume == "" {
		return from, err
	}
	r.resumed.path = all[0].Path
	if from, err = readState(r.resumed.path); err != nil {
		return state{}, fmt.Errorf("%w: %w: rank 0 goes on from there, so ranks on other hosts need the same folder (a shared file system, or a copy)", ErrResume, err)
	}
	return from, r.checkResume(from)
}

// microLoss is what is known of a micro-batch when it has been computed.
type microLoss struct {
	Micro int
	Sum   float64   // of -ln p over the trained tokens
	Rows  []float64 // the mean of each sequence's own
}

func newMicroLoss(micro int, b datasets.Batch, logprobs []float32) microLoss {
	m := microLoss{Micro: micro, Sum: sumLoss(b.Labels, logprobs), Rows: make([]float64, len(b.Rows))}
	for s := range b.Rows {
		first, end := b.Seqs[s], b.Seqs[s+1]
		trained := 0
		for _, label := range b.Labels[first:end] {
			if label != datasets.IgnoreIndex {
				trained++
			}
		}
		m.Rows[s] = sumLoss(b.Labels[first:end], logprobs[first:end]) / float64(max(trained, 1))
	}
	return m
}

// shareLosses gives every rank the losses of all n micro-batches, in order.
func (r *Run) shareLosses(n int, mine []microLoss) ([]microLoss, error) {
	all, err := gather(r.group, mine)
	if err != nil {
		return nil, err
	}
	losses := make([]microLoss, n)
	for _, some := range all {
		for _, l := range some {
			if l.Micro < 0 || l.Micro >= n {
				return nil, fmt.Errorf("another rank has computed micro-batch %d of %d: a fault in this program, please report it", l.Micro, n)
			}
			losses[l.Micro] = l
		}
	}
	return losses, nil
}

// What rank 0 has all ranks do at a border.
type order int

const (
	goOn    order = iota
	release       // give the device's memory back
	retake        // and take it again
	stopRun
	stopKeep // with a checkpoint
)

// wish is what a rank says at a border: rank 0 its order, the others whether somebody wants them to stop.
type wish struct {
	Order order
	Stop  bool
}

// agree is the order that all ranks follow: rank 0's, but where another rank was told to end (a scheduler that takes its host
// away, say) all save and stop.
func (r *Run) agree(mine wish) (order, error) {
	all, err := gather(r.group, mine)
	if err != nil {
		return 0, err
	}
	for _, w := range all {
		if w.Stop && all[0].Order == goOn {
			return stopKeep, nil
		}
	}
	return all[0].Order, nil
}

// orderStop has all ranks end.
func (r *Run) orderStop(keep bool) error {
	o := stopRun
	if keep {
		o = stopKeep
	}
	_, err := r.agree(wish{Order: o})
	return err
}

// follow is the border of a rank that others lead.
func (r *Run) follow(ctx context.Context) (stop, keep bool, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return false, false, fmt.Errorf("run cancelled at step %d: %w", r.state.Step, err)
		}
		o, err := r.agree(wish{Stop: r.control.take().stop})
		if err != nil {
			return false, false, err
		}
		switch o {
		case goOn:
			return false, false, nil
		case release, retake:
			if err := r.carryOut(o); err != nil {
				return false, false, err
			}
		default:
			return true, o == stopKeep, nil
		}
	}
}

// carried is how a rank carried out an order.
type carried struct {
	Bytes int64
	Fault string
}

// carryOut does what an order asks of all ranks, and tells how it went. What fails on any is an error on rank 0; the others wait
// for its next order.
func (r *Run) carryOut(o order) error {
	var mine carried
	act := r.giveBackHere
	if o == retake {
		act = r.takeBack
	}
	if err := act(); err != nil {
		mine.Fault = err.Error()
	}
	mine.Bytes = r.releasedBytes
	all, err := gather(r.group, mine)
	if err != nil {
		return err
	}
	if !r.leads() {
		return nil
	}
	r.releasedBytes = 0
	for rank, a := range all {
		if a.Fault != "" {
			return fmt.Errorf("rank %d: %s", rank, a.Fault)
		}
		r.releasedBytes += a.Bytes
	}
	r.othersReleased = o == release
	return nil
}

// leave is a rank's end in the group. Rank 0 tells why it failed, when it has done all that a failure asks for; where all ranks
// have found the same fault, the others wait for that.
func (r *Run) leave(err error) {
	switch {
	case r.group.Size() == 1:
	case err == nil || r.agreed && !r.leads():
		_, _ = r.group.Gather(nil) // at the end nobody is needed any more, whatever befalls
		_ = r.group.Close()
	default:
		r.group.Abandon(err)
	}
}
