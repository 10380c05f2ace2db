package safetensors

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// openIndex opens every shard that an index names and checks that each tensor lies where the index says.
func (s *Set) openIndex(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("open weights: %w", err)
	}
	weightMap, err := parseIndex(raw)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	dir := filepath.Dir(path)
	for _, shard := range shardsOf(weightMap) {
		file := filepath.Join(dir, shard)
		if _, err := os.Stat(file); err != nil { // not wrapped: a damaged model is no wrong path
			return fmt.Errorf("read %s: shard %s is missing: download it again or correct the index (%s)", path, shard, err.Error())
		}
		if err := s.openFile(file, weightMap); err != nil {
			return err
		}
	}
	for _, name := range sortedKeys(weightMap) {
		if _, ok := s.tensors[name]; !ok {
			return fmt.Errorf("read %s: the index places tensor %q in %s, which does not hold it", path, name, weightMap[name])
		}
	}
	return nil
}

// parseIndex reads {"metadata": …, "weight_map": {tensor: shard}}.
func parseIndex(raw []byte) (map[string]string, error) {
	weightMap := map[string]string{}
	found := false
	err := eachMember(raw, func(key string, dec *jsontext.Decoder) error {
		if key != "weight_map" {
			return dec.SkipValue()
		}
		if found {
			return fmt.Errorf("index has two weight_map entries")
		}
		found = true
		return readObject(dec, "weight_map", func(tensor string) error {
			shard, err := readString(dec)
			if err != nil {
				return fmt.Errorf("weight_map of tensor %q: %w", tensor, err)
			}
			if shard == "" || shard != filepath.Base(shard) || strings.ContainsAny(shard, `/\`) || shard == ".." || shard == "." {
				return fmt.Errorf("weight_map of tensor %q: shard %q is not a plain file name", tensor, shard)
			}
			if _, dup := weightMap[tensor]; dup {
				return fmt.Errorf("weight_map names tensor %q twice", tensor)
			}
			weightMap[tensor] = shard
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("index has no weight_map")
	}
	return weightMap, nil
}

// shardsOf lists the shards of a weight map, each once, sorted.
func shardsOf(weightMap map[string]string) []string {
	seen := map[string]bool{}
	var shards []string
	for _, shard := range weightMap {
		if !seen[shard] {
			seen[shard] = true
			shards = append(shards, shard)
		}
	}
	slices.Sort(shards)
	return shards
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
