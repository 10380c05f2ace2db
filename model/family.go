package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"lathe/model/safetensors"
)

// family is a row of options: how a family's config.json differs from llama's, and what its tensors are called.
type family struct {
	name         string // model_type
	architecture string
	// keys spells keys of config.json that a family calls otherwise than llama does.
	keys map[string]string
	// defaults are the keys that transformers fills in where an old config.json leaves them out. A key that says null stays so.
	defaults map[string]string
	// options reads what a llama does not have, or writes it: a config.json that it has written reads the same.
	options func(c *Config, o *options)
	names   names
}

// names are the parts of tensor names.
type names struct {
	embed, finalNorm, head string
	layer                  string // with the layer's number: model.layers.%d.
	norms                  [numNorms]string
	parallelNorms          [numNorms]string // otherwise where a parallel block has two norms
	modules                [numModules]string
	// stored are other beginnings under which checkpoints hold the same tensors: {ours, theirs}.
	stored [][2]string
	// buffers are ends of names in old checkpoints of what is made from the configuration, and no weight.
	buffers []string
	// beside are beginnings of the names of what a checkpoint of more than a language model holds beside it.
	beside []string
}

// rename gives the tensors of a checkpoint the names that the family's class saves them by: models that were saved without
// their head lack the first part, and other versions of transformers spell some otherwise.
func (n *names) rename(set *safetensors.Set) {
	starts := func(prefix string) bool {
		return slices.ContainsFunc(set.Names(), func(name string) bool { return strings.HasPrefix(name, prefix) })
	}
	for _, pair := range n.stored {
		ours, theirs := pair[0], pair[1]
		if theirs == "" && starts(ours) {
			continue
		}
		set.Rename(func(name string) string {
			if rest, ok := strings.CutPrefix(name, theirs); ok && !strings.HasPrefix(name, n.head+".") || ok && theirs != "" {
				return ours + rest
			}
			return name
		})
	}
}

// harmless tells the tensors that transformers passes over too: buffers of old checkpoints, a tied head's copy, and the other
// models beside a language model that was taken out of its configuration.
func harmless(name string, c *Config) bool {
	n := &familyNamed(c.Family).names
	return c.TieHead && name == n.head+".weight" ||
		slices.ContainsFunc(n.buffers, func(end string) bool { return strings.HasSuffix(name, end) }) ||
		len(c.Notices) > 0 && slices.ContainsFunc(n.beside, func(start string) bool { return strings.HasPrefix(name, start) })
}

// module is a linear layer of a block; its number is part of its dropout stream and must not change. A family has some of
// them: query, key and value apart or in one; gate and up apart, in one, or, without a gate, up alone.
type module uint8

const (
	qProj module = iota
	kProj
	vProj
	oProj
	gateProj
	upProj
	downProj
	qkvProj
	gateUpProj
	numModules
)

// place is where a norm of a block stands.
type place uint8

const (
	inputNorm         place = iota // before the attention
	mlpNorm                        // before the MLP
	postAttentionNorm              // of the attention's output, before it is added
	postMLPNorm                    // of the MLP's output
	qNorm                          // of each head of the queries, before the rotation
	kNorm
	numNorms
)

// spell is what a family calls one of llama's keys.
func (f *family) spell(key string) string {
	if own, ok := f.keys[key]; ok {
		return own
	}
	return key
}

func familyNamed(name string) *family {
	for i := range families {
		if families[i].name == name {
			return &families[i]
		}
	}
	return &families[0]
}

// findFamily goes by architectures, and by model_type where that is missing.
func findFamily(k *keys) (*family, error) {
	architectures := decode[[]string](k, "architectures", nil, "a list of names")
	modelType := k.text("model_type", "")
	if k.err != nil {
		return nil, k.err
	}
	if len(architectures) == 0 && modelType == "" {
		return nil, errors.New("config.json: neither architectures nor model_type says what kind of model this is")
	}
	for i, f := range families {
		if slices.Contains(architectures, f.architecture) || len(architectures) == 0 && f.name == modelType {
			return &families[i], nil
		}
	}
	known := make([]string, len(families))
	for i, f := range families {
		known[i] = f.architecture
	}
	if len(architectures) == 0 {
		return nil, fmt.Errorf("config.json: model_type %q is not supported (known: %s)", modelType, strings.Join(known, ", "))
	}
	return nil, fmt.Errorf("config.json: architectures %q is not supported (known: %s)", architectures, strings.Join(known, ", "))
}
