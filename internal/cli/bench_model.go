package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lathe/model"
)

// benchShapes are the random llamas; 60m is the shape that the project's performance goals name.
var benchShapes = map[string]map[string]any{
	"1m":   {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 1},
	"3m":   {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 2},
	"10m":  {"hidden_size": 320, "intermediate_size": 864, "num_hidden_layers": 6, "num_attention_heads": 5},
	"30m":  {"hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 7, "num_attention_heads": 8},
	"60m":  {"hidden_size": 640, "intermediate_size": 1728, "num_hidden_layers": 10, "num_attention_heads": 10},
	"120m": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 15, "num_attention_heads": 12},
	"200m": {"hidden_size": 1024, "intermediate_size": 2752, "num_hidden_layers": 14, "num_attention_heads": 16},
}

// benchSizes are the shapes' names, the smallest first.
func benchSizes() []string {
	return slices.SortedFunc(maps.Keys(benchShapes), func(a, b string) int {
		return benchShapes[a]["hidden_size"].(int) - benchShapes[b]["hidden_size"].(int)
	})
}

// sizeFlag chooses a random llama.
func sizeFlag(cmd *cobra.Command, size *string, usual string) {
	names := benchSizes()
	last := len(names) - 1
	*size = usual
	cmd.Flags().Var((*sizeValue)(size), "size", fmt.Sprintf("the random llama's size: %s or %s", strings.Join(names[:last], ", "), names[last]))
}

// sizeValue is the name of a shape, which is looked at before anything is measured.
type sizeValue string

func (v *sizeValue) String() string { return string(*v) }

// Type is what help calls it.
func (v *sizeValue) Type() string { return "string" }

// Set is pflag's.
func (v *sizeValue) Set(name string) error {
	if _, ok := benchShapes[name]; !ok {
		return fmt.Errorf("use one of %s", strings.Join(benchSizes(), ", "))
	}
	*v = sizeValue(name)
	return nil
}

func benchConfig(size string) (model.Config, error) {
	shape := benchShapes[size]
	c := map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "hidden_act": "silu", "vocab_size": 8192,
		"max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "eos_token_id": 2,
	}
	maps.Copy(c, shape)
	text, err := json.Marshal(c)
	if err != nil {
		return model.Config{}, err
	}
	return model.ParseConfig(text, nil)
}

// work is what a token of some rows asks for.
type work struct {
	pairs   float64 // keys that a token sees, on average
	trained float64 // share of tokens with a label
}

// flopsPerToken is the arithmetic that a step needs for one token, two operations an element of a product: the linear layers
// forward and their input gradients (weight gradients too for full), the head likewise for trained tokens, LoRA's three products
// forward and backward, and attention, causal, with five products backward against two forward (FlashAttention 2, Dao 2023, §3).
func flopsPerToken(c model.Config, method string, r int, w work) float64 {
	q, kv := float64(c.Heads*c.HeadDim), float64(c.KVHeads*c.HeadDim)
	h, inter := float64(c.Hidden), float64(c.Intermediate)
	linear := float64(c.Layers) * (2*h*q + 2*h*kv + 3*h*inter)
	sides := float64(c.Layers) * (2*(h+q) + 2*(h+kv) + 3*(h+inter))
	head := float64(c.Vocab) * h * w.trained
	attention := float64(c.Layers) * 7 * 2 * q * w.pairs
	if method == "full" {
		return 6*(linear+head) + attention
	}
	return 4*(linear+head) + 6*float64(r)*sides + attention
}
