//go:build unix

package cli

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// shape is a tensor of a sparse checkpoint.
type shape struct {
	name string
	dims []int64
}

// llamaShapes are the tensors of a llama with grouped keys and values.
func llamaShapes(layers int, hidden, kv, inner, vocab int64) (list []shape) {
	list = append(list, shape{"model.embed_tokens.weight", []int64{vocab, hidden}})
	for l := range layers {
		p := fmt.Sprintf("model.layers.%d.", l)
		for _, s := range []shape{
			{"self_attn.q_proj", []int64{hidden, hidden}},
			{"self_attn.k_proj", []int64{kv, hidden}},
			{"self_attn.v_proj", []int64{kv, hidden}},
			{"self_attn.o_proj", []int64{hidden, hidden}},
			{"mlp.gate_proj", []int64{inner, hidden}},
			{"mlp.up_proj", []int64{inner, hidden}},
			{"mlp.down_proj", []int64{hidden, inner}},
			{"input_layernorm", []int64{hidden}},
			{"post_attention_layernorm", []int64{hidden}},
		} {
			list = append(list, shape{p + s.name + ".weight", s.dims})
		}
	}
	return append(list, shape{"model.norm.weight", []int64{hidden}}, shape{"lm_head.weight", []int64{vocab, hidden}})
}

// sparse writes a checkpoint of bfloat16 shards that are a header and a hole: of the true size, without a block of weights.
func sparse(t *testing.T, dir string, shards int, list []shape) (size int64) {
	t.Helper()
	index := map[string]string{}
	for n := range shards {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", n+1, shards)
		header, at := map[string]any{"__metadata__": map[string]string{"format": "pt"}}, int64(0)
		for _, s := range list[n*len(list)/shards : (n+1)*len(list)/shards] {
			bytes := int64(2)
			for _, d := range s.dims {
				bytes *= d
			}
			header[s.name] = map[string]any{"dtype": "BF16", "shape": s.dims, "data_offsets": []int64{at, at + bytes}}
			at += bytes
			index[s.name] = name
		}
		text, err := json.Marshal(header)
		if err != nil {
			t.Fatal(err)
		}
		path := write(t, dir, name, string(binary.LittleEndian.AppendUint64(nil, uint64(len(text))))+string(text))
		if err := os.Truncate(path, 8+int64(len(text))+at); err != nil {
			t.Skipf("skipped: this file system has no files of %d bytes: %v", at, err)
		}
		size += at
	}
	text, err := json.Marshal(map[string]any{"metadata": map[string]int64{"total_size": size}, "weight_map": index})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "model.safetensors.index.json", string(text))
	return size
}

// llama70B is a folder of Llama 3.3 70B's shape: 141 GB in 30 shards, of which a megabyte is there.
func llama70B(t *testing.T) (dir string, size int64) {
	t.Helper()
	dir = copyModel(t, "llama-gqa") // for its tokenizer and template
	if err := os.Remove(filepath.Join(dir, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "LICENSE", "LLAMA 3.3 COMMUNITY LICENSE AGREEMENT\n")
	write(t, dir, "config.json", `{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":8192,"num_hidden_layers":80,
		"num_attention_heads":64,"num_key_value_heads":8,"intermediate_size":28672,"vocab_size":128256,"max_position_embeddings":131072,
		"rms_norm_eps":1e-5,"rope_theta":500000,"rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,
		"high_freq_factor":4.0,"original_max_position_embeddings":8192},"torch_dtype":"bfloat16","tie_word_embeddings":false}`)
	return dir, sparse(t, dir, 30, llamaShapes(80, 8192, 1024, 28672, 128256))
}

// A folder of 70 billion parameters is told of from its headers: the process touches no weight. Weights are mapped, so that each
// page of them that was read would be a page fault: 141 GB have 34 million, 16 at a time when the kernel reads around one.
func TestInspect70B(t *testing.T) {
	dir, size := llama70B(t)
	inspectFaults := func(args ...string) (object, int64) {
		cmd := process(append([]string{"inspect", "--json"}, args...)...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %s", err, &stderr)
		}
		usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		t.Logf("%v: %v of processor time, %d page faults", args, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), usage.Minflt+usage.Majflt)
		return decodeLines[object](t, stdout.String())[0], usage.Minflt + usage.Majflt
	}
	_, small := inspectFaults("--model", refDir(t, "llama-gqa"))
	o, large := inspectFaults("--model", dir)
	if extra := (large - small) * int64(os.Getpagesize()); extra > size/1000 {
		t.Errorf("%d MB of pages were touched beyond what a tiny model takes: weights are being read", extra>>20)
	}
	if o["parameters"] != 70553706496.0 || o["bytes"] != float64(size) || o["shards"] != 30.0 || o["dtype"] != "bfloat16" || o["context_length"] != 131072.0 {
		t.Errorf("%v", o)
	}
	rope := object(o["rope_scaling"].(map[string]any))
	if rope["rope_type"] != "llama3" || rope["factor"] != 8.0 || rope["original_max_position_embeddings"] != 8192.0 {
		t.Errorf("rope: %v", rope)
	}
	memory := object(o["memory"].(map[string]any))
	checkpointed := o["memory_checkpointed"].(map[string]any)["qlora"].(map[string]any)
	if q, c := memory["qlora"].(float64), checkpointed["1"].(float64); c < 39e9 || c > 45e9 || q < c || q > 2*c || memory["lora"].(float64) < 141e9 || memory["full"].(float64) < 4*4*70e9 {
		t.Errorf("memory: %v", memory)
	}
	page := ok(t, "inspect", "--model", dir).stdout
	fits(t, page)
	for _, word := range []string{"70,553,706,496", "131.4 GiB in 30 files, bfloat16", "rope scaling llama3 ×8 from 8,192", "Llama 3.3", "✗"} {
		if !strings.Contains(page, word) {
			t.Errorf("the page does not say %q:\n%s", word, page)
		}
	}
	for _, n := range []int{3, 17, 18, 19} {
		if err := os.Remove(filepath.Join(dir, fmt.Sprintf("model-%05d-of-00030.safetensors", n))); err != nil {
			t.Fatal(err)
		}
	}
	out := lathe(t, "inspect", "--model", dir)
	refusal(t, out, exitFailed, "model-00003-of-00030.safetensors", "missing")
	if !strings.Contains(out.stdout, "4 of 30 files of weights are missing") || !strings.Contains(out.stdout, "70,553,706,496") {
		t.Errorf("%s", out.stdout)
	}
}
