package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Families lists the model_types that this program computes.
func Families() []string {
	list := make([]string, len(families))
	for i, f := range families {
		list[i] = f.name
	}
	return list
}

// NewConfig is the configuration of a model to be made: keys of config.json, sizes as llama's spells them, and the family's
// defaults for the rest.
func NewConfig(modelType string, keys map[string]any) (Config, error) {
	i := slices.IndexFunc(families, func(f family) bool { return f.name == modelType })
	if i < 0 {
		return Config{}, fmt.Errorf("model_type %q is not supported (known: %s)", modelType, strings.Join(Families(), ", "))
	}
	f := &families[i]
	fields := map[string]any{"architectures": []string{f.architecture}, "model_type": f.name}
	for key, value := range keys {
		fields[f.spell(key)] = value
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return Config{}, errors.Join(errors.New("make a configuration"), err)
	}
	c, err := ParseConfig(data, nil)
	c.raw = nil // so that all of it is written, not only what was given
	return c, err
}

// WeightSpec is a weight that a configuration asks for.
type WeightSpec struct {
	Name  string
	Shape []int
	kind  kind
	cfg   *Config
}

// Weights lists a model's weights in the order in which they are written.
func (c Config) Weights() []WeightSpec {
	var list []WeightSpec
	for _, t := range c.layout() {
		list = append(list, WeightSpec{Name: t.name, Shape: t.shape, kind: t.kind, cfg: &c})
	}
	return list
}

// Draw fills values as an untrained model has them: normal with the deviation initializer_range; norms that change nothing, no
// biases.
func (w WeightSpec) Draw(values []float32, rng *rand.Rand) { w.kind.draw(values, rng, w.cfg) }
