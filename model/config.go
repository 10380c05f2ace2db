package model

import "lathe/compute"

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
	AttentionBias bool // q, k, v have biases
	OutputBias    bool // o_proj has a bias
	MLPBias       bool
	Window        int // sliding_window, 0 is off
	InitStd       float64
	DType         string  // torch_dtype or dtype, as written
	BOS           int32   // -1 when there is none
	PAD           int32   // -1 when there is none
	EOS           []int32 // of generation_config.json, else of config.json
	AttnDropout   float64 // attention_dropout: refused in training unless 0
}

// RoPE is the rotary embedding's configuration.
type RoPE struct {
	Theta  float64 // rope_theta
	Type   string  // default, linear or llama3
	Factor float64
	// of llama3
	LowFreqFactor, HighFreqFactor float64
	OriginalContext               int
}

// ParseConfig reads config.json and, where there is one (else nil), generation_config.json.
func ParseConfig(config, generation []byte) (Config, error) { return Config{}, errUnbuilt }
