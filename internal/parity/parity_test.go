package parity

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"lathe/compute/cpu"
	"lathe/internal/reftest"
)

var update = flag.Bool("update", false, "write docs/PARITY.md")

const document = "../../docs/PARITY.md"

// TestParity measures every cell of docs/PARITY.md and compares it with its tolerance and with the committed figure.
func TestParity(t *testing.T) {
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	b := &bench{dev: dev, peer: readPeer(t)}
	byFamily, byMethod, files, ways := familyTable(b), methodTable(b), fileTable(b.peer), directionTable(b.peer)
	var families, methods, peers, both cells
	t.Run("families", func(t *testing.T) { families = byFamily.measure(t) })
	t.Run("methods", func(t *testing.T) { methods = byMethod.measure(t) })
	t.Run("files", func(t *testing.T) { peers, both = files.measure(t), ways.measure(t) })
	if *update {
		var n notes
		var text strings.Builder
		byFamily.write(&text, families, &n)
		byMethod.write(&text, methods, &n)
		files.write(&text, peers, &n)
		ways.write(&text, both, &n)
		if err := os.WriteFile(document, []byte(b.preface(t)+text.String()+n.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	doc, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	byFamily.compare(t, families, string(doc))
	byMethod.compare(t, methods, string(doc))
	files.compare(t, peers, string(doc))
	ways.compare(t, both, string(doc))
}

func (n notes) String() string {
	var w strings.Builder
	if len(n) > 0 {
		w.WriteString("## Cells without a figure\n\n")
	}
	for i, why := range n {
		fmt.Fprintf(&w, "%d. %s.\n", i+1, strings.ToUpper(why[:1])+why[1:])
	}
	return w.String()
}

// preface says when, where and against what the figures were measured.
func (b *bench) preface(t *testing.T) string {
	var manifest struct {
		Versions map[string]string
	}
	reftest.ReadJSON(t, ref("MANIFEST.json"), &manifest)
	var versions []string
	for _, name := range []string{"torch", "transformers", "peft", "bitsandbytes", "adapters"} {
		if v := manifest.Versions[name]; v != "" {
			versions = append(versions, name+" "+v)
		}
	}
	info := b.dev.Info()
	return fmt.Sprintf(`# Parity

How far lathe is from the libraries that it stands in for: the worst error of each comparison, with the tolerance below each heading.
The models are tiny and random, with the shapes and options of the real ones (tools/refdump); what is compared is exact to the
option: a mistake as small as another variant of GELU shows as 5e-4. Written by

    go test ./internal/parity -update

and checked by `+"`go test ./internal/parity`"+`, which measures everything again and fails where a figure is beyond its tolerance, where a cell
has come or gone, or where one is more than %d times the committed or less than that part of it (differences below %.0f%% of the tolerance
are noise: other vector units sum in another order).

- measured on %s, %s (%s), %s/%s, against %s
- log-probabilities and logits: absolute; loss: relative; gradients: absolute, as a share of the largest element of all; 20 steps: the
  worst of twenty optimiser steps' losses and gradient norms, relative; greedy: ids that differ; NF4: log-probabilities over the base that lathe
  and bitsandbytes each quantised
- bfloat16: losses of twenty steps with `+"`bf16: true`"+` and PyTorch's under autocast. Its rounding is what takes its own losses away from float32's (0.06 to
  0.9%%): the largest difference of the two is told as a share of the largest of that, and lathe's mean difference to float32 as a share of the mean
- both ways: "we read theirs" is lathe with an adapter that PEFT (or the adapters library) wrote, and lathe's merged weights beside PEFT's; "they read
  ours" is PEFT or transformers with what lathe wrote, log-probabilities, measured by tools/peercheck%s
- files: both programs score the same five sequences, the longest beyond every window, with what one of them wrote after three steps (lathe) or with
  every trained tensor moved (the library); the adapters' tensors have the same names, types and shapes from both. testdata/peer/results.json has every
  row; the test compares with that file, and trains again to see that lathe still writes the same layout
- resumed: files (weights, moments) whose bytes differ between 20 steps, and 10, a checkpoint, and 10 more

`, growth, floor*100, time.Now().UTC().Format(time.DateOnly), info.Name, info.Tier, runtime.GOOS, runtime.GOARCH, strings.Join(versions, ", "), b.peer.where())
}
