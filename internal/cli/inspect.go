package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"lathe/compute"
	"lathe/model"
	"lathe/model/template"
	"lathe/model/tokenizer"
	"lathe/trainer"
)

// inspection is what `lathe inspect --json` prints.
type inspection struct {
	Family        string `json:"family"`
	Architecture  string `json:"architecture"`
	Parameters    int64  `json:"parameters"`
	DType         string `json:"dtype"`
	Bytes         int64  `json:"bytes"`
	ContextLength int    `json:"context_length"`
	Hidden        int    `json:"hidden_size"`
	Layers        int    `json:"num_hidden_layers"`
	Vocab         int    `json:"vocab_size"`
	Licence       string `json:"licence"`
	Tokenizer     string `json:"tokenizer"`
	Template      string `json:"template"`
	// Memory is bytes by method for one row of BatchTokens tokens.
	Memory      map[trainer.Method]int64 `json:"memory"`
	BatchTokens int                      `json:"batch_tokens"`
}

func inspectCommand(e *env) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "inspect --model DIR",
		Short: "What a model folder holds and what each method would take, from headers alone",
		Args:  maxArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := openModel(dir)
			if err != nil {
				return err
			}
			defer files.Close()
			dev, err := openDevice(e.device)
			if err != nil {
				return err
			}
			defer dev.Close()
			in, err := inspect(files, dev.Info().Workspace)
			if err != nil {
				return err
			}
			if e.json {
				return writeJSON(e.stdout, in)
			}
			table(e.stdout, in.rows())
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "model", "", "model folder")
	return cmd
}

func inspect(f *model.Files, workspace compute.WorkspaceRule) (inspection, error) {
	c := f.Config
	in := inspection{
		Family: c.Family, Architecture: c.Architecture, Parameters: f.Parameters(), DType: f.DType(), Bytes: f.Bytes(),
		ContextLength: c.ContextLength, Hidden: c.Hidden, Layers: c.Layers, Vocab: c.Vocab,
		Licence: licence(f.Dir), Tokenizer: tokenizerHealth(f.Dir, c.Vocab), Template: templateHealth(f.Dir),
		Memory: map[trainer.Method]int64{}, BatchTokens: min(1024, max(1, c.ContextLength)),
	}
	lora := model.LoRAConfig{R: 16, Alpha: 32, TargetModules: model.TargetModules{Names: []string{"q_proj", "v_proj"}}}
	for method, o := range map[trainer.Method]model.PlanOptions{
		trainer.MethodFull:  {Full: true},
		trainer.MethodLoRA:  {Adapter: lora, Load: model.LoadOptions{KeepDType: true}},
		trainer.MethodQLoRA: {Adapter: lora, Load: model.LoadOptions{Quant4: true, DoubleQuant: true, KeepDType: true}},
	} {
		o.MaxTokens, o.MaxSeqs, o.MaxLen = in.BatchTokens, 1, in.BatchTokens
		o.Load.Compute, o.Workspace = compute.F32, workspace
		m, err := model.PlanMemory(c, o)
		if err != nil {
			return in, fmt.Errorf("plan %s: %w", method, err)
		}
		const moments = 2 * 4 // AdamW keeps two float32 for every trained parameter
		in.Memory[method] = m.Total() + m.Trainable*moments
	}
	return in, nil
}

func (in inspection) rows() [][]string {
	rows := [][]string{
		{"family", fmt.Sprintf("%s (%s)", in.Family, in.Architecture)},
		{"parameters", count(in.Parameters)},
		{"weights", fmt.Sprintf("%s, %s", in.DType, bytesText(in.Bytes))},
		{"shape", fmt.Sprintf("%d layers of %d, vocabulary %s", in.Layers, in.Hidden, count(int64(in.Vocab)))},
		{"context", count(int64(in.ContextLength)) + " tokens"},
		{"licence", in.Licence},
		{"tokenizer", in.Tokenizer},
		{"template", in.Template},
	}
	for _, method := range []trainer.Method{trainer.MethodQLoRA, trainer.MethodLoRA, trainer.MethodFull} {
		rows = append(rows, []string{
			string(method), fmt.Sprintf("%s for a row of %s tokens", bytesText(in.Memory[method]), count(int64(in.BatchTokens))),
		})
	}
	return rows
}

// licence reads the model card's front matter, else the first words of a licence file.
func licence(dir string) string {
	if card, err := os.ReadFile(filepath.Join(dir, "README.md")); err == nil {
		if front, ok := frontMatter(card); ok {
			var head struct {
				License     string `yaml:"license"`
				LicenseName string `yaml:"license_name"`
			}
			if yaml.Unmarshal(front, &head) == nil && head.License != "" {
				return strings.TrimSpace(head.License + " " + head.LicenseName)
			}
		}
	}
	for _, name := range []string{"LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if line := strings.TrimSpace(lines.Text()); line != "" {
				return fmt.Sprintf("%s (%s)", line, name)
			}
		}
	}
	return "not stated: no model card and no licence file"
}

// frontMatter is the YAML between the first two lines of three dashes.
func frontMatter(card []byte) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(card, []byte("---\n"))
	if !ok {
		return nil, false
	}
	front, _, ok := bytes.Cut(rest, []byte("\n---"))
	return front, ok
}

func tokenizerHealth(dir string, vocab int) string {
	tok, err := tokenizer.Load(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "none: only ready-made ids can be trained"
	case err != nil:
		return "unusable: " + err.Error()
	case tok.VocabSize() > vocab:
		return fmt.Sprintf("%d tokens, but the model knows %d: ids beyond it will be refused", tok.VocabSize(), vocab)
	case tok.EOS() < 0:
		return fmt.Sprintf("%d tokens, no eos token: answers will not learn to end", tok.VocabSize())
	}
	return fmt.Sprintf("%s tokens, eos %q", count(int64(tok.VocabSize())), tok.Token(tok.EOS()))
}

func templateHealth(dir string) string {
	_, err := template.Load(dir)
	switch {
	case errors.Is(err, template.ErrNone):
		return "none: prompts and completions are trained as plain text"
	case err != nil:
		return "unusable: " + err.Error()
	}
	return "chat template present"
}
