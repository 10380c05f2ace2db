package model

import (
	"encoding/json"
	"fmt"
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
	NormEps       float32
	Act           compute.Act
	RoPE          RoPE
	TieHead       bool // tie_word_embeddings
	AttentionBias bool // q_proj, k_proj and v_proj have biases
	OutputBias    bool // o_proj has one
	MLPBias       bool
	Window        int // sliding_window, 0 is off
	InitStd       float64
	AttnDropout   float64 // attention_dropout: refused in training unless 0
	DType         string  // torch_dtype or dtype as written, "" when it is not
	BOS, PAD      int32   // -1 when there is none
	EOS           []int32 // of generation_config.json, else of config.json

	// Quantization says that the checkpoint was quantised before it was saved; nil for a plain one.
	Quantization *Quantization `json:",omitempty"`

	raw map[string]json.RawMessage // config.json as read, to be written again
}

// RoPE is the configuration of the rotary embedding.
type RoPE struct {
	Theta  float64 // rope_theta
	Type   string  // default, linear or llama3
	Factor float64
	// LowFreqFactor, HighFreqFactor and OriginalContext are llama3's.
	LowFreqFactor, HighFreqFactor float64
	OriginalContext               int
}

// Limits that no real model comes near; they keep products of sizes within an int64.
const (
	maxSize   = 1 << 24
	maxLayers = 4096 // a dropout stream has 12 bits for it
)

// ParseConfig reads config.json and, where there is one (else nil), generation_config.json, of transformers 4 or 5. What
// this program cannot compute is an error that names the key.
func ParseConfig(config, generation []byte) (Config, error) {
	var c Config
	k, err := parseKeys("config.json", config)
	if err != nil {
		return c, err
	}
	f, err := findFamily(k)
	if err != nil {
		return c, err
	}
	c = Config{Family: f.name, Architecture: f.architecture, raw: k.raw}
	c.readSizes(k)
	c.readOptions(k)
	c.readRoPE(k)
	c.readTokens(k)
	c.readQuantization(k)
	f.options(&c, k)
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

func (c *Config) readSizes(k *keys) {
	c.Hidden = k.size("hidden_size", 0)
	c.Layers = k.size("num_hidden_layers", 0)
	c.Heads = k.size("num_attention_heads", 0)
	c.Intermediate = k.size("intermediate_size", 0)
	c.Vocab = k.size("vocab_size", 0)
	c.KVHeads = k.size("num_key_value_heads", c.Heads)
	c.ContextLength = k.size("max_position_embeddings", 2048)
	headDim := 0
	if c.Heads > 0 {
		headDim = c.Hidden / c.Heads
	}
	c.HeadDim = k.size("head_dim", headDim)
}

func (c *Config) readOptions(k *keys) {
	c.NormEps = float32(k.number("rms_norm_eps", 1e-6))
	c.TieHead = k.flag("tie_word_embeddings", false)
	c.InitStd = k.number("initializer_range", 0.02)
	c.AttnDropout = k.number("attention_dropout", 0)
	c.DType = k.text("torch_dtype", k.text("dtype", ""))
	switch act := k.text("hidden_act", "silu"); act {
	case "silu", "swish":
		c.Act = compute.SiLU
	case "gelu":
		c.Act = compute.GELU
	case "gelu_pytorch_tanh", "gelu_new":
		c.Act = compute.GELUTanh
	case "relu":
		c.Act = compute.ReLU
	default:
		k.fail("hidden_act", fmt.Errorf("activation %q is not supported (silu, gelu, gelu_pytorch_tanh or relu)", act))
	}
}

// readRoPE reads rope_theta and rope_scaling (transformers 4) or rope_parameters (5), which then holds both.
func (c *Config) readRoPE(k *keys) {
	c.RoPE = RoPE{Theta: k.number("rope_theta", 10000), Type: "default"}
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		sub := k.object(key)
		if sub == nil {
			continue
		}
		r := &c.RoPE
		r.Theta = sub.number("rope_theta", r.Theta)
		r.Type = sub.text("rope_type", sub.text("type", "default"))
		if p := sub.number("partial_rotary_factor", 1); p != 1 {
			sub.fail("partial_rotary_factor", fmt.Errorf("%v is not supported for this family", p))
		}
		switch r.Type {
		case "default":
		case "llama3":
			r.LowFreqFactor = sub.need("low_freq_factor")
			r.HighFreqFactor = sub.need("high_freq_factor")
			r.OriginalContext = sub.size("original_max_position_embeddings", c.ContextLength)
			if sub.err == nil && r.HighFreqFactor <= r.LowFreqFactor {
				sub.fail("high_freq_factor", fmt.Errorf("%v is not above low_freq_factor %v", r.HighFreqFactor, r.LowFreqFactor))
			}
			fallthrough
		case "linear":
			if r.Factor = sub.need("factor"); sub.err == nil && r.Factor < 1 {
				sub.fail("factor", fmt.Errorf("%v is below 1", r.Factor))
			}
		default:
			sub.fail("rope_type", fmt.Errorf("%q is not supported (default, linear or llama3)", r.Type))
		}
		k.join(sub)
	}
	if c.RoPE.Theta <= 0 {
		k.fail("rope_theta", fmt.Errorf("%v is not above 0", c.RoPE.Theta))
	}
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
	case c.HeadDim == 0 || c.HeadDim%2 != 0:
		return fmt.Errorf("head_dim: %d is not even, so it cannot be rotated in pairs", c.HeadDim)
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

// Parameters is the number of weights, a tied head counted once.
func (c Config) Parameters() int64 {
	var n int64
	for _, t := range c.layout() {
		n += t.elements()
	}
	return n
}
