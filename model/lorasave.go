package model

import (
	"fmt"
	"slices"
	"strings"

	"lathe/compute"
	"lathe/model/tape"
)

// saves says whether a module, or one that holds it, is named by modules_to_save: by the end of its path, as PEFT's
// _set_trainable.
func (c *LoRAConfig) saves(path string) bool {
	for at := 0; at < len(path); {
		end := strings.IndexByte(path[at:], '.')
		if end < 0 {
			end = len(path) - at
		}
		at += end
		if slices.ContainsFunc(c.ModulesToSave, func(name string) bool { return strings.HasSuffix(path[:at], name) }) {
			return true
		}
		at++
	}
	return false
}

func modulePathOf(tensor string) string { return tensor[:strings.LastIndexByte(tensor, '.')] }

// addBiases lists the biases that train: all, or those of the adapted layers.
func (l *lora) addBiases() {
	if l.c.Bias != BiasAll && l.c.Bias != BiasLoRA {
		return
	}
	for i := range l.base.tensors {
		t := &l.base.tensors[i]
		path := modulePathOf(t.name)
		adapted := t.kind == bias && l.linear[t.layer][t.module] != nil && l.linear[t.layer][t.module].LoRA != nil
		if t.kind != bias && t.kind != normBias || l.c.Bias == BiasLoRA && !adapted || l.c.saves(path) {
			continue
		}
		own := adapterTensor{name: peftPrefix + t.name, shape: t.shape, from: t, bind: l.binder(t)}
		if adapted { // it lies in the layer that PEFT's own layer wraps
			own.also, own.name = own.name, peftPrefix+path+".base_layer.bias"
		}
		l.instead[t.name] = len(l.list)
		l.list = append(l.list, own)
	}
}

// addModules lists the tensors of modules_to_save: copies in float32.
func (l *lora) addModules() error {
	found := map[string]bool{}
	for i := range l.base.tensors {
		t := &l.base.tensors[i]
		path := modulePathOf(t.name)
		as := l.savedAs(path)
		if as == "" {
			continue
		}
		if t.weight.Quant != nil {
			return fmt.Errorf("modules_to_save: %s is held in 4 bits, which cannot be trained; adapt it (target_modules), or load the base without load_in_4bit", path)
		}
		l.found(found, as)
		l.instead[t.name] = len(l.list)
		l.list = append(l.list, adapterTensor{
			name: peftPrefix + as + strings.TrimPrefix(t.name, path), shape: t.shape, decay: !t.kind.vector(), from: t, bind: l.binder(t),
		})
	}
	l.addTiedHead(found)
	for _, name := range l.c.ModulesToSave {
		if !found[name] {
			return fmt.Errorf("modules_to_save: nothing is named %q; this model has %s, %s, %s and the modules of its blocks",
				name, familyNamed(l.base.cfg.Family).names.embed, familyNamed(l.base.cfg.Family).names.finalNorm, familyNamed(l.base.cfg.Family).names.head)
		}
	}
	return nil
}

// savedAs is the path under which PEFT saves a module, empty where modules_to_save does not name it. GPT-NeoX' head is embed_out in
// its files and in transformers 4, lm_head in transformers 5: it answers to both, and is saved under the one that is asked for.
func (l *lora) savedAs(path string) string {
	const head = "lm_head"
	switch {
	case l.c.saves(path):
		return path
	case path == familyNamed(l.base.cfg.Family).names.head && l.c.saves(head):
		return head
	}
	return ""
}

// found notes which names a module answers to.
func (l *lora) found(names map[string]bool, path string) {
	for _, name := range l.c.ModulesToSave {
		one := LoRAConfig{ModulesToSave: []string{name}}
		names[name] = names[name] || one.saves(path)
	}
}

// addTiedHead lists the head of a model whose head is its embedding. PEFT copies each of the two that is named, so that they part;
// with ensure_weight_tying they stay one, which its file holds twice.
func (l *lora) addTiedHead(found map[string]bool) {
	n := familyNamed(l.base.cfg.Family).names
	embed := n.embed + ".weight"
	at, embedSaved := l.instead[embed]
	headSaved := l.base.cfg.TieHead && l.c.saves(n.head)
	if !l.base.cfg.TieHead || !embedSaved && !headSaved {
		return
	}
	l.found(found, n.head)
	from := l.base.embedding()
	if !l.c.EnsureWeightTying {
		l.untied = true
		if headSaved {
			l.instead[n.head+".weight"] = len(l.list)
			l.list = append(l.list, adapterTensor{
				name: peftPrefix + n.head + ".weight", shape: from.shape, decay: true, from: from, bind: l.bindHead(from),
			})
		}
		return
	}
	if !embedSaved {
		at = len(l.list)
		l.instead[embed] = at
		l.list = append(l.list, adapterTensor{name: peftPrefix + embed, shape: from.shape, decay: true, from: from, bind: l.binder(from)})
	}
	one, head := l.list[at].bind, l.bindHead(from)
	l.list[at].twin = peftPrefix + n.head + ".weight"
	l.list[at].bind = func(value, grad compute.Buffer) {
		one(value, grad)
		head(value, grad)
	}
}

func (l *lora) bindHead(t *tensor) func(value, grad compute.Buffer) {
	own := l.base.head
	own.W = compute.Weight{Out: t.weight.Out, In: t.weight.In}
	l.head = &own
	return func(value, grad compute.Buffer) { own.W.Data, own.Grad = value, grad }
}

// binder puts a tensor in the place of one of the base's, in the adapter's own copy of its layer.
func (l *lora) binder(t *tensor) func(value, grad compute.Buffer) {
	switch t.kind {
	case embedding:
		own := tape.Embedding{Scale: l.base.embed.Scale}
		l.embed = &own
		return func(value, grad compute.Buffer) { own.Table, own.Grad = value, grad }
	case head:
		return l.bindHead(t)
	case norm:
		own := l.ownNorm(t)
		return func(value, grad compute.Buffer) { own.W, own.Grad = value, grad }
	case normBias:
		own := l.ownNorm(t)
		return func(value, grad compute.Buffer) { own.Bias, own.BiasGrad = value, grad }
	case matrix:
		own := l.ownLinear(t.layer, t.module)
		own.W = compute.Weight{Out: t.weight.Out, In: t.weight.In}
		return func(value, grad compute.Buffer) { own.W.Data, own.Grad = value, grad }
	default:
		own := l.ownLinear(t.layer, t.module)
		return func(value, grad compute.Buffer) { own.Bias, own.BiasGrad = value, grad }
	}
}

// ownNorm is the adapter's copy of a norm.
func (l *lora) ownNorm(t *tensor) *tape.Norm {
	from, own := &l.base.finalNorm, &l.finalNorm
	if t.layer >= 0 {
		from, own = l.base.layers[t.layer].norm[t.place], &l.norm[t.layer][t.place]
	}
	if *own == nil {
		n := *from
		*own = &n
	}
	return *own
}
