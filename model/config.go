package model

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"lathe/compute"
)

// Config is what config.json and generation_config.json say about a model, with the family's defaults filled in.
type Config struct {
	Family        string // "llama": a row of the table of families
	Architecture  string // "LlamaForCausalLM"
	Hidden        int    // hidden_size C
	Layers        int    // num_hidden_layers
	Heads         int    // num_attention_heads H
	KVHeads       int    // num_key_value_heads
	HeadDim       int    // head_dim D; H·D need not be C
	Intermediate  int    // intermediate_size F
	Vocab         int    // vocab_size V
	ContextLength int    // max_position_embeddings

	LayerNorm  bool // with mean and bias, in place of RMSNorm
	NormEps    float32
	NormOffset float32 // RMSNorm multiplies by weight + NormOffset: 1 for Gemma
	QKNorm     bool    // each head of queries and keys is normalised before the rotation
	Sandwich   bool    // the outputs of attention and MLP are normalised too
	Parallel   bool    // attention and MLP read the same input and are added to it together
	SharedNorm bool    // of a parallel block: one norm serves both

	MLP           MLP
	Act           compute.Act
	QKVGroups     int  // groups of [queries, key, value] in a fused projection; 0 where there are three
	AttentionBias bool // q_proj, k_proj and v_proj, or the fused one, have biases
	OutputBias    bool // o_proj has one
	MLPBias       bool
	TieHead       bool // tie_word_embeddings
	EmbedScale    bool // embeddings are multiplied by √C

	RoPE         RoPE
	LocalRoPE    *RoPE   // of blocks with a sliding window, where it is another: Gemma 3
	Alibi        bool    // distances are part of the scores, in place of rotations (Press et al. 2021)
	Window       int     // sliding_window, 0 is off
	Sliding      []bool  // which blocks have the window; nil: all
	AttnScalar   float64 // query_pre_attn_scalar: scores are divided by its root; 0: by that of D
	AttnSoftcap  float32 // attn_logit_softcapping, 0 is off
	FinalSoftcap float32 // final_logit_softcapping, 0 is off

	InitStd     float64
	AttnDropout float64 // attention_dropout: refused in training unless 0
	DType       string  // torch_dtype or dtype as written, "" when it is not
	BOS, PAD    int32   // -1 when there is none
	EOS         []int32 // of generation_config.json, else of config.json

	// Quantization says that the checkpoint was quantised before it was saved; nil for a plain one.
	Quantization *Quantization `json:",omitempty"`

	// Notices say what of the checkpoint is left out.
	Notices []string `json:",omitempty"`

	dropout string                     // a dropout of the base that is not 0, as "hidden_dropout 0.1"
	raw     map[string]json.RawMessage // config.json as read, to be written again
}

// MLP is the form of a block's feed-forward layer.
type MLP uint8

// The forms of an MLP.
const (
	Gated      MLP = iota // W_down·(act(W_gate·h) · W_up·h)
	FusedGated            // the same with gate and up in one matrix
	Plain                 // W_down·act(W_up·h)
)

// sliding says whether a block is one of those with a window.
func (c *Config) sliding(layer int) bool {
	if c.Sliding == nil {
		return c.Window > 0
	}
	return c.Sliding[layer]
}

// window is the sliding window of a block, 0 for none.
func (c *Config) window(layer int) int {
	if c.sliding(layer) {
		return c.Window
	}
	return 0
}

// attentionScale is what scores are multiplied by.
func (c *Config) attentionScale() float32 {
	if c.AttnScalar > 0 {
		return float32(1 / math.Sqrt(c.AttnScalar))
	}
	return float32(1 / math.Sqrt(float64(c.HeadDim)))
}

// Limits that no real model comes near; they keep products of sizes within an int64.
const (
	maxSize   = 1 << 24
	maxLayers = 4096 // a dropout stream has 12 bits for it
)

// ParseConfig reads config.json and, where there is one (else nil), generation_config.json, of transformers 4 or 5. What
// this program cannot compute is an error that names the key.
func ParseConfig(config, generation []byte) (Config, error) {
	k, err := parseKeys("config.json", config)
	if err != nil {
		return Config{}, err
	}
	k, notices, err := textOnly(k)
	if err != nil {
		return Config{}, err
	}
	f, err := findFamily(k)
	if err != nil {
		return Config{}, err
	}
	c := Config{Family: f.name, Architecture: f.architecture, Notices: notices, raw: k.raw}
	k.fill(f.defaults)
	c.readSizes(k, f)
	c.readOptions(k, f)
	c.readTokens(k)
	c.readQuantization(k)
	f.options(&c, &options{in: k})
	c.readRoPE(k, f)
	k.refuse(f)
	if err := k.err; err != nil {
		return Config{}, err
	}
	if err := c.readGeneration(generation); err != nil {
		return Config{}, err
	}
	if err := c.check(); err != nil {
		return Config{}, fmt.Errorf("config.json: %w", err)
	}
	return c, nil
}

func (c *Config) readSizes(k *keys, f *family) {
	c.Hidden = k.size("hidden_size", 0)
	c.Layers = k.size("num_hidden_layers", 0)
	c.Heads = k.size("num_attention_heads", 0)
	fallback := 0
	if f.name == "falcon" {
		fallback = 4 * c.Hidden
	}
	c.Intermediate = k.size(f.spell("intermediate_size"), fallback)
	c.Vocab = k.size("vocab_size", 0)
	c.KVHeads = k.size(f.spell("num_key_value_heads"), c.Heads)
	c.ContextLength = k.size("max_position_embeddings", 2048)
	headDim := 0
	if c.Heads > 0 {
		headDim = c.Hidden / c.Heads
	}
	c.HeadDim = k.size("head_dim", headDim)
}

// acts are transformers' names of activations. gelu_fast and gelu_new spell the same formula as gelu_pytorch_tanh.
var acts = map[string]compute.Act{
	"silu": compute.SiLU, "swish": compute.SiLU, "relu": compute.ReLU, "gelu": compute.GELU, "gelu_python": compute.GELU,
	"gelu_pytorch_tanh": compute.GELUTanh, "gelu_new": compute.GELUTanh, "gelu_fast": compute.GELUTanh,
	"gelu_accurate": compute.GELUTanh, "gelu_python_tanh": compute.GELUTanh,
}

var actNames = map[compute.Act]string{
	compute.SiLU: "silu", compute.GELU: "gelu", compute.GELUTanh: "gelu_pytorch_tanh", compute.ReLU: "relu",
}

// dropouts are transformers' keys of dropouts inside of the base, beside attention_dropout.
var dropouts = []string{"hidden_dropout", "resid_pdrop", "embd_pdrop", "residual_dropout", "embedding_dropout"}

func (c *Config) readOptions(k *keys, f *family) {
	c.NormEps = float32(k.number(f.spell("rms_norm_eps"), 1e-6))
	c.TieHead = k.flag("tie_word_embeddings", false)
	c.InitStd = k.number("initializer_range", 0.02)
	c.AttnDropout = k.number("attention_dropout", 0)
	for _, key := range dropouts {
		if p := k.number(key, 0); p != 0 && c.dropout == "" {
			c.dropout = fmt.Sprintf("%s %v", key, p)
		}
	}
	c.DType = k.text("torch_dtype", k.text("dtype", ""))
	key := f.spell("hidden_act")
	name := k.text(key, "silu")
	act, known := acts[name]
	if !known {
		k.fail(key, fmt.Errorf("activation %q is not supported (silu, gelu, gelu_pytorch_tanh or relu)", name))
	}
	c.Act = act
}

func (c *Config) readTokens(k *keys) {
	c.BOS, c.PAD = -1, -1
	if ids := k.ids("bos_token_id"); len(ids) > 0 {
		c.BOS = ids[0]
	}
	if ids := k.ids("pad_token_id"); len(ids) > 0 {
		c.PAD = ids[0]
	}
	c.EOS = k.ids("eos_token_id")
}

func (c *Config) readGeneration(generation []byte) error {
	if generation == nil {
		return nil
	}
	k, err := parseKeys("generation_config.json", generation)
	if err != nil {
		return err
	}
	if eos := k.ids("eos_token_id"); len(eos) > 0 {
		c.EOS = eos
	}
	if c.PAD < 0 {
		if ids := k.ids("pad_token_id"); len(ids) > 0 {
			c.PAD = ids[0]
		}
	}
	return k.err
}

// check looks at sizes against each other.
func (c *Config) check() error {
	switch {
	case c.Layers > maxLayers:
		return fmt.Errorf("num_hidden_layers: %d is above %d", c.Layers, maxLayers)
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("num_key_value_heads: %d heads cannot be shared out among %d", c.Heads, c.KVHeads)
	case c.HeadDim == 0 || !c.Alibi && c.RoPE.rotary(c)%2 != 0:
		return fmt.Errorf("head_dim: %d dimensions of %d cannot be rotated in pairs", c.RoPE.rotary(c), c.HeadDim)
	case c.QKVGroups > 1 && c.QKVGroups != c.KVHeads:
		return fmt.Errorf("num_key_value_heads: %d groups of queries have %d key heads", c.QKVGroups, c.KVHeads)
	case c.Sliding != nil && len(c.Sliding) != c.Layers:
		return fmt.Errorf("layer_types: %d for %d layers", len(c.Sliding), c.Layers)
	case int64(c.Heads)*int64(c.HeadDim) > maxSize:
		return fmt.Errorf("head_dim: %d heads of %d are too large", c.Heads, c.HeadDim)
	case int64(c.Layers)*int64(c.Hidden)*int64(c.Intermediate) > 1<<46 || int64(c.Hidden)*int64(c.Vocab) > 1<<46:
		return fmt.Errorf("hidden_size: the sizes give a model of more than 10¹⁴ weights")
	}
	for _, id := range c.EOS {
		if id < 0 || int(id) >= c.Vocab {
			// Published configs have such ids (-1, or of a larger tokenizer); no token will ever equal them.
			c.EOS = slices.DeleteFunc(slices.Clone(c.EOS), func(e int32) bool { return e < 0 || int(e) >= c.Vocab })
			break
		}
	}
	return nil
}

// baseDropout names a dropout of the base that training would need, "" for none.
func (c *Config) baseDropout() string {
	if c.AttnDropout != 0 {
		return fmt.Sprintf("attention_dropout %v", c.AttnDropout)
	}
	return c.dropout
}

// Parameters is the number of weights, a tied head counted once.
func (c Config) Parameters() int64 {
	var n int64
	for _, t := range c.layout() {
		n += t.elements()
	}
	return n
}
