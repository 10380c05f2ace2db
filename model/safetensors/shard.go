package safetensors

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// DefaultShardBytes is transformers' default size of a shard, 5 GB.
const DefaultShardBytes = 5_000_000_000

// WriteSharded writes a model into dir: model.safetensors where it fits in maxBytes, else shards
// model-00001-of-0000N.safetensors in the order of sources and model.safetensors.index.json. A tensor larger than
// maxBytes has a shard of its own; maxBytes ≤ 0 means [DefaultShardBytes]. All shards are written and synced under
// temporary names first, and the index is renamed last: a reader finds the old model or the new one. The form that
// is not written (single file or index) is removed, since it would shadow the new weights.
func WriteSharded(dir string, sources []Source, metadata map[string]string, maxBytes int64) error {
	if maxBytes <= 0 {
		maxBytes = DefaultShardBytes
	}
	shards, total, err := splitShards(sources, maxBytes)
	if err != nil {
		return fmt.Errorf("write weights to %s: %w", dir, err)
	}
	if len(shards) <= 1 {
		if err := WriteSources(filepath.Join(dir, SingleFile), sources, metadata); err != nil {
			return err
		}
		return removeStale(dir, IndexFile)
	}
	names := make([]string, len(shards))
	for i := range shards {
		names[i] = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
	}
	if err := writeShards(dir, names, shards, metadata); err != nil {
		return fmt.Errorf("write weights to %s: %w", dir, err)
	}
	if err := writeIndex(dir, names, shards, total); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(dir, IndexFile), err)
	}
	return removeStale(dir, SingleFile)
}

// splitShards fills shards in order, each with at most maxBytes unless one tensor alone is larger.
func splitShards(sources []Source, maxBytes int64) (shards [][]Source, total int64, err error) {
	seen := map[string]bool{}
	var size int64
	for _, s := range sources {
		if seen[s.Name] {
			return nil, 0, fmt.Errorf("tensor %q is given twice", s.Name)
		}
		seen[s.Name] = true
		n, err := sourceSize(s)
		if err != nil {
			return nil, 0, err
		}
		if len(shards) == 0 || size+n > maxBytes {
			shards = append(shards, nil)
			size = 0
		}
		shards[len(shards)-1] = append(shards[len(shards)-1], s)
		size += n
		total += n
	}
	return shards, total, nil
}

func writeShards(dir string, names []string, shards [][]Source, metadata map[string]string) error {
	temps := make([]string, 0, len(shards))
	defer func() {
		for _, tmp := range temps {
			_ = os.Remove(tmp) // renamed already unless something failed
		}
	}()
	for i, shard := range shards {
		tmp, err := writeTemp(filepath.Join(dir, names[i]), shard, metadata)
		if err != nil {
			return fmt.Errorf("shard %s: %w", names[i], err)
		}
		temps = append(temps, tmp)
	}
	for i, tmp := range temps {
		if err := os.Rename(tmp, filepath.Join(dir, names[i])); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

func writeIndex(dir string, names []string, shards [][]Source, total int64) (err error) {
	shardOf := map[string]string{}
	for i, shard := range shards {
		for _, s := range shard {
			shardOf[s.Name] = names[i]
		}
	}
	b := []byte("{\n  \"metadata\": {\n    \"total_size\": ")
	b = strconv.AppendInt(b, total, 10)
	b = append(b, "\n  },\n  \"weight_map\": {"...)
	for i, name := range sortedKeys(shardOf) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, "\n    "...)
		b = appendQuote(b, name)
		b = append(b, ": "...)
		b = appendQuote(b, shardOf[name])
	}
	b = append(b, "\n  }\n}\n"...)
	f, err := os.CreateTemp(dir, "."+IndexFile+".tmp-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return commit(f.Name(), filepath.Join(dir, IndexFile))
}

func removeStale(dir, name string) error {
	err := os.Remove(filepath.Join(dir, name))
	if err == nil {
		return syncDir(dir)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("remove the older %s, which would be read instead: %w", name, err)
}
