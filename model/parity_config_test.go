package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"lathe/compute"
)

// The angles of every rotary embedding, by transformers' own class: of full and of sliding attention, and beyond the context
// where they depend on the length.
func TestRotaryTablesMatchTransformers(t *testing.T) {
	for _, name := range refModels {
		c := openFiles(t, filepath.Join(refDir, name)).Config
		if c.Alibi {
			continue // has none
		}
		cases := []struct {
			prefix       string
			rope         *RoPE
			rows, length int
		}{{"", &c.RoPE, 64, 64}}
		if c.LocalRoPE != nil {
			cases[0].prefix = "full_attention."
			cases = append(cases, cases[0])
			cases[1].prefix, cases[1].rope = "sliding_attention.", c.LocalRoPE
		}
		if c.RoPE.byLength() {
			cases = append(cases, cases[0])
			cases[1].prefix, cases[1].rows, cases[1].length = "long.", 120, 120
		}
		for _, k := range cases {
			t.Run(name+"/"+k.prefix, func(t *testing.T) {
				d := openDump(t, name+"/dump/rope.safetensors")
				positions, lengths := make([]int32, k.rows), make([]int32, k.rows)
				for i := range positions {
					positions[i], lengths[i] = int32(i), int32(k.length)
				}
				cos, sin := k.rope.batchTables(&c, positions, lengths)
				half := k.rope.rotary(&c) / 2
				first := func(name string) (out []float32) { // the dump repeats each half
					full := d.floats(t, k.prefix+name)
					for p := range k.rows {
						out = append(out, full[2*half*p:2*half*p+half]...)
					}
					return out
				}
				// float32 functions of torch and float64 ones rounded differ by an ulp or two of 1
				within(t, "inv_freq", k.rope.inverseFrequencies(&c, k.length), d.floats(t, k.prefix+"inv_freq"), 1e-7)
				within(t, "cos", cos, first("cos"), 5e-6)
				within(t, "sin", sin, first("sin"), 5e-6)
			})
		}
	}
}

// What transformers 4 wrote and what version 5 writes of the same model is one configuration, and so is what this program
// writes of it.
func TestEveryConfigOfAModelReadsTheSame(t *testing.T) {
	for _, name := range refModels {
		t.Run(name, func(t *testing.T) {
			c := openFiles(t, filepath.Join(refDir, name)).Config
			want := plainConfig(c)
			old, err := os.ReadFile(filepath.Join(refDir, name, "dump/config.v4.json"))
			if err == nil {
				parsed, err := ParseConfig(old, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got := plainConfig(parsed); got != want {
					t.Errorf("\ntransformers 4 %s\ntransformers 5 %s", got, want)
				}
			} else if !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			c.raw = nil
			written, err := c.JSON(compute.F32)
			if err != nil {
				t.Fatal(err)
			}
			again, err := ParseConfig(written, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := plainConfig(again); got != want {
				t.Errorf("\nwritten %s\nread    %s\n%s", got, want, written)
			}
		})
	}
}

// plainConfig is all that a configuration says, in words.
func plainConfig(c Config) string {
	c.raw, c.DType = nil, ""
	out, err := json.Marshal(c)
	return fmt.Sprint(string(out), err, c.dropout)
}
