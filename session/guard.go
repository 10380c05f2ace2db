package session

import (
	"slices"

	"lathe/trainer"
)

// Refusal asks for a run that has ended and a checkpoint to go back to.
func (c RollBack) Refusal(v View) error {
	if err := v.refuseChange(); err != nil {
		return err
	}
	if c.Checkpoint != "" && !v.Run.HasCheckpoint(c.Checkpoint) && c.Checkpoint != v.Run.lastGood() {
		return refuse("no checkpoint %q in this run", c.Checkpoint)
	}
	if c.Checkpoint == "" && v.Run.lastGood() == "" {
		return refuse("the run has no checkpoint to go back to: start it anew with :train")
	}
	return nil
}

// Refusal asks for a run that has ended and rows to leave out.
func (c SkipRows) Refusal(v View) error {
	if err := v.refuseChange(); err != nil {
		return err
	}
	if len(c.Rows) == 0 && (v.Run.Trouble == nil || len(v.Run.Trouble.Rows) == 0) {
		return refuse("which rows? name them, :skip FILE:LINE,…")
	}
	return nil
}

// Refusal asks for a run that has ended.
func (HalveRate) Refusal(v View) error { return v.refuseChange() }

// refuseChange says why the course of the run in front cannot be changed now.
func (v View) refuseChange() error {
	switch {
	case v.Run.ID == 0:
		return refuse("no run to change: start one with :train FILE")
	case v.Run.State.Active():
		return refuse("run %q is %s: stop it first with :stop", v.Run.Name, v.Run.State)
	}
	return nil
}

// lastGood is the checkpoint to go back to: the one that the guard found good, or the newest; "" for none.
func (r RunView) lastGood() string {
	if r.Trouble != nil {
		return r.Trouble.Checkpoint
	}
	if n := len(r.Saved); n > 0 {
		return r.Saved[n-1].Path
	}
	return ""
}

// Offers are the ways on after the guard has ended the run; nil where it has not.
func (r RunView) Offers() []trainer.Offer {
	if r.Trouble == nil {
		return nil
	}
	return r.Trouble.Offers()
}

// rollBack starts the run in front again at a checkpoint, paused.
func (s *Session) rollBack(v View, c RollBack) error {
	if c.Checkpoint == "" {
		c.Checkpoint = v.Run.lastGood()
	}
	return s.again(v, Start{Resume: c.Checkpoint, Paused: true})
}

// skipRows starts the run in front again without some rows: from the state just before the step that failed, where that was
// kept.
func (s *Session) skipRows(v View, c SkipRows) error {
	from, rows := v.Run.lastGood(), c.Rows
	if t := v.Run.Trouble; t != nil {
		if len(rows) == 0 {
			rows = t.Rows
		}
		if t.Before != "" {
			from = t.Before
		}
	}
	return s.again(v, Start{Resume: from, SkipRows: rows})
}

// halveRate starts the run in front again at half the rate.
func (s *Session) halveRate(v View) error {
	scale := v.Run.RateScale
	if scale == 0 {
		scale = 1
	}
	from := v.Run.lastGood()
	if t := v.Run.Trouble; t != nil {
		from = t.Slower()
	}
	return s.again(v, Start{Resume: from, RateScale: scale / 2})
}

// again starts the run in front once more, with its own name and configuration. Without a checkpoint it starts from the
// beginning, with what it was given before.
func (s *Session) again(v View, c Start) error {
	c.Name, c.Config = v.Run.Name, v.Run.Config
	if c.Resume == "" {
		c.SkipRows = append(slices.Clone(v.Run.SkipRows), c.SkipRows...)
		if c.RateScale == 0 {
			c.RateScale = v.Run.RateScale
		}
	}
	return s.start(c)
}
