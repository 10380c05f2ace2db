package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"
)

// keys reads a JSON object key by key and remembers the first thing that is wrong, as bufio.Writer does. null is the same
// as absent, as in transformers.
type keys struct {
	where string
	raw   map[string]json.RawMessage
	read  map[string]bool // keys that were asked for
	err   error
}

func parseKeys(where string, data []byte) (*keys, error) {
	k := &keys{where: where, read: map[string]bool{}}
	if err := json.Unmarshal(data, &k.raw); err != nil {
		return nil, fmt.Errorf("read %s: %w", where, err)
	}
	if k.raw == nil {
		return nil, fmt.Errorf("read %s: it is not a JSON object", where)
	}
	return k, nil
}

func (k *keys) fail(key string, err error) {
	if k.err == nil {
		k.err = fmt.Errorf("%s: %s: %w", k.where, key, err)
	}
}

func (k *keys) join(sub *keys) {
	if k.err == nil {
		k.err = sub.err
	}
}

// fill puts in what is left out.
func (k *keys) fill(defaults map[string]string) {
	k.raw = maps.Clone(k.raw)
	for key, value := range defaults {
		if _, ok := k.raw[key]; !ok {
			k.raw[key] = json.RawMessage(value)
		}
	}
}

// has says whether the key is there and not null.
func (k *keys) has(key string) bool {
	raw, ok := k.raw[key]
	return ok && !bytes.Equal(raw, []byte("null"))
}

func decode[T any](k *keys, key string, fallback T, want string) T {
	k.read[key] = true
	if !k.has(key) {
		return fallback
	}
	var v T
	if err := json.Unmarshal(k.raw[key], &v); err != nil {
		k.fail(key, fmt.Errorf("%s is not %s", clip(k.raw[key]), want))
		return fallback
	}
	return v
}

// size is a whole number above 0; without a fallback (0) the key must be there.
func (k *keys) size(key string, fallback int) int {
	if !k.has(key) && fallback == 0 {
		k.fail(key, errors.New("the key is missing"))
		return 1
	}
	n := decode(k, key, int64(fallback), "a whole number")
	if n < 1 || n > maxSize*64 || key != "max_position_embeddings" && key != "original_max_position_embeddings" && n > maxSize {
		k.fail(key, fmt.Errorf("%d is out of range", n))
		return 1
	}
	return int(n)
}

func (k *keys) number(key string, fallback float64) float64 {
	x := decode(k, key, fallback, "a number")
	if math.IsNaN(x) || math.IsInf(x, 0) {
		k.fail(key, fmt.Errorf("%v is not finite", x))
		return fallback
	}
	return x
}

// need is a number that must be there.
func (k *keys) need(key string) float64 {
	if !k.has(key) {
		k.fail(key, errors.New("the key is missing"))
		return 1
	}
	return k.number(key, 1)
}

func (k *keys) flag(key string, fallback bool) bool {
	return decode(k, key, fallback, "true or false")
}

func (k *keys) text(key, fallback string) string {
	return decode(k, key, fallback, "a string")
}

func (k *keys) object(key string) *keys {
	k.read[key] = true
	if !k.has(key) {
		return nil
	}
	sub := &keys{where: k.where + ": " + key, read: map[string]bool{}}
	if err := json.Unmarshal(k.raw[key], &sub.raw); err != nil {
		k.fail(key, fmt.Errorf("%s is not an object", clip(k.raw[key])))
		return nil
	}
	return sub
}

// ids is one token id or a list of them.
func (k *keys) ids(key string) []int32 {
	if !k.has(key) {
		return nil
	}
	if k.raw[key][0] == '[' {
		return decode[[]int32](k, key, nil, "a list of token ids")
	}
	return []int32{decode(k, key, int32(0), "a token id")}
}

func clip(raw []byte) string {
	text := strings.Join(strings.Fields(string(raw)), " ")
	if len(text) > 60 {
		return strings.ToValidUTF8(text[:60], "") + "…"
	}
	return text
}
