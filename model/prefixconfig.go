package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// PrefixConfig is PEFT's adapter_config.json for prefix tuning (Li & Liang 2021).
type PrefixConfig struct {
	VirtualTokens int
	// Projection trains a small table and two layers that turn it into the prefix; files hold only what they make.
	Projection    bool
	EncoderHidden int // width between the two layers; 0: that of the keys
	BaseModel     string

	// What the base decides; 0 in a configuration that has not met one.
	layers, heads, tokenDim int
}

// Method is prefix tuning.
func (PrefixConfig) Method() string { return "prefix tuning" }

// fit takes the sizes of a base, and refuses those of another.
func (c *PrefixConfig) fit(b *Config) error {
	for _, size := range []struct {
		key   string
		own   *int
		wants int
	}{{"num_layers", &c.layers, b.Layers}, {"num_attention_heads", &c.heads, b.KVHeads}, {"token_dim", &c.tokenDim, b.KVHeads * b.HeadDim}} {
		if *size.own != 0 && *size.own != size.wants {
			return fmt.Errorf("%s: %d, but this base has %d: the prefix belongs to another model", size.key, *size.own, size.wants)
		}
		*size.own = size.wants
	}
	if c.EncoderHidden == 0 {
		c.EncoderHidden = c.tokenDim
	}
	return nil
}

func (c *PrefixConfig) check() error {
	if c.VirtualTokens < 1 || c.VirtualTokens > maxVirtualTokens {
		return fmt.Errorf("num_virtual_tokens: %d is not from 1 to %d", c.VirtualTokens, maxVirtualTokens)
	}
	if c.EncoderHidden < 0 || c.EncoderHidden > maxSize {
		return fmt.Errorf("encoder_hidden_size: %d is not from 1 to %d", c.EncoderHidden, maxSize)
	}
	return nil
}

const maxVirtualTokens = 1 << 16

// prefixNeutral are the keys that say nothing about what a prefix computes.
var prefixNeutral = []string{
	"task_type", "inference_mode", "init_weights", "peft_version", "revision", "auto_mapping", "runtime_config",
}

// parsePrefixConfig reads PEFT's adapter_config.json of a prefix.
func parsePrefixConfig(k *keys) (PrefixConfig, error) {
	count := func(key string) int { return decode(k, key, 0, "a whole number") }
	c := PrefixConfig{
		VirtualTokens: count("num_virtual_tokens"), Projection: k.flag("prefix_projection", false),
		EncoderHidden: count("encoder_hidden_size"), BaseModel: k.text("base_model_name_or_path", ""),
		layers: count("num_layers"), heads: count("num_attention_heads"), tokenDim: count("token_dim"),
	}
	if n := decode(k, "num_transformer_submodules", 1, "a whole number"); n != 1 {
		k.fail("num_transformer_submodules", fmt.Errorf("%d is for encoders with decoders; a decoder has 1", n))
	}
	read := append([]string{
		"peft_type", "num_virtual_tokens", "prefix_projection", "encoder_hidden_size", "base_model_name_or_path", "num_layers",
		"num_attention_heads", "token_dim", "num_transformer_submodules",
	}, prefixNeutral...)
	k.refuseOthers(read, nil)
	if k.err != nil {
		return c, k.err
	}
	if c.layers < 0 || c.heads < 0 || c.tokenDim < 0 {
		return c, errors.New(AdapterConfigFile + ": num_layers, num_attention_heads and token_dim count: a number below 0 is none")
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("%s: %w", AdapterConfigFile, err)
	}
	return c, nil
}

// refuseOthers refuses keys that were not read and change what an adapter computes: those that are neither at their neutral
// value ("*" is any) nor null, false or empty.
func (k *keys) refuseOthers(read []string, neutral map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(k.raw)) {
		if raw := string(k.raw[key]); !slices.Contains(read, key) && !isNeutral(neutral[key], raw) {
			k.fail(key, fmt.Errorf("%s is not supported; the adapter would give other results without it", clip(k.raw[key])))
		}
	}
}

func isNeutral(want, raw string) bool {
	return want == "*" || want != "" && strings.TrimSuffix(raw, ".0") == want || slices.Contains([]string{"null", "false", "{}", "[]", `""`}, raw)
}

// JSON is adapter_config.json with the keys that PEFT writes, sorted as it sorts them.
func (c PrefixConfig) JSON() ([]byte, error) {
	fields := map[string]any{
		"auto_mapping": nil, "base_model_name_or_path": c.BaseModel, "encoder_hidden_size": orNil(c.EncoderHidden), "inference_mode": true,
		"num_attention_heads": orNil(c.heads), "num_layers": orNil(c.layers), "num_transformer_submodules": 1,
		"num_virtual_tokens": c.VirtualTokens, "peft_type": "PREFIX_TUNING", "prefix_projection": c.Projection, "revision": nil,
		"task_type": "CAUSAL_LM", "token_dim": orNil(c.tokenDim),
	}
	out, err := json.MarshalIndent(fields, "", "  ")
	return append(out, '\n'), err
}

func orNil(n int) any {
	if n == 0 {
		return nil
	}
	return n
}
