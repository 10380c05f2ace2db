package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"lathe/compute"
	"lathe/model/tape"
)

// ErrNoMerge marks an adapter that no weights of the base can stand for.
var ErrNoMerge = errors.New("it cannot be merged")

// canMerge says why a view has no merged weights.
func (m *Model) canMerge() error {
	if m.adapter == nil {
		return errors.New("merge adapter: this view of the model has none")
	}
	if _, ok := m.adapter.method.(*lora); !ok {
		return fmt.Errorf("merge adapter: %w: a %s changes what is computed, not the weights; give the adapter's folder beside its base", ErrNoMerge, m.adapter.Config().Method())
	}
	return nil
}

// pairOf is the adapter's addition to a tensor of the base, nil where there is none.
func (m *Model) pairOf(t tensor) *tape.LoRA {
	if l := m.lora(); l != nil && t.kind == matrix && l.linear[t.layer][t.module] != nil {
		return l.linear[t.layer][t.module].LoRA
	}
	return nil
}

func (m *Model) lora() *lora {
	if m.adapter == nil {
		return nil
	}
	l, _ := m.adapter.method.(*lora)
	return l
}

// insteadOf is the adapter's tensor in the place of one of the base's, nil where there is none.
func (m *Model) insteadOf(name string) compute.Buffer {
	l := m.lora()
	if l == nil {
		return nil
	}
	at, ok := l.instead[name]
	if !ok {
		return nil
	}
	return m.adapter.values[at]
}

// mergePair turns w, the weight of t in float32, into PEFT's merged one: W + s·B·A or, of a DoRA, M/‖W + s·B·A‖ · (W + s·B·A) by rows.
func (m *Model) mergePair(w compute.Buffer, t tensor, pair *tape.LoRA) error {
	delta, err := m.dev.Alloc(compute.F32, w.Len())
	if err != nil {
		return err
	}
	defer delta.Free()
	m.dev.LinearBackwardInput(compute.LinearBackwardInput{ // B·A, spelled as dy·W
		DX: delta, DY: pair.B, N: t.weight.Out, W: compute.Weight{Out: pair.R, In: t.weight.In, Data: pair.A},
	})
	m.dev.Add(compute.Add{Y: w, A: w, B: delta, Scale: pair.Scale})
	if pair.DoRA == nil {
		return nil
	}
	norms, err := m.dev.Alloc(compute.F32, t.weight.Out)
	if err != nil {
		return err
	}
	defer norms.Free()
	m.dev.RowNorm(compute.RowNorm{Y: norms, W: compute.Weight{Out: t.weight.Out, In: t.weight.In, Data: w}})
	length, magnitude := compute.Download[float32](m.dev, norms), compute.Download[float32](m.dev, pair.DoRA.M)
	values := compute.Download[float32](m.dev, w)
	if err := m.dev.Sync(); err != nil {
		return err
	}
	for row := range t.weight.Out {
		factor := magnitude[row] / length[row]
		for i := row * t.weight.In; i < (row+1)*t.weight.In; i++ {
			values[i] *= factor
		}
	}
	compute.Upload(m.dev, w, values)
	return m.dev.Sync()
}

// headTensor is the head of a merged model whose head is no longer its embedding, nil where there is none.
func (m *Model) headTensor() *tensor {
	l := m.lora()
	if l == nil || !l.untied {
		return nil
	}
	t := *m.embedding()
	t.name = familyNamed(m.cfg.Family).names.head + ".weight"
	return &t
}

func (b *base) embedding() *tensor {
	return &b.tensors[slices.IndexFunc(b.tensors, func(t tensor) bool { return t.kind == embedding })]
}

// MergedConfig is the configuration of the merged model: the base's, but where modules_to_save parted the head from the
// embedding it says so.
func (m *Model) MergedConfig() Config {
	c := m.cfg
	if m.headTensor() != nil {
		c.TieHead = false
		if c.raw != nil {
			c.raw = maps.Clone(c.raw)
			c.raw["tie_word_embeddings"] = json.RawMessage("false")
		}
	}
	return c
}
