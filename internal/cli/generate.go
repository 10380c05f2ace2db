package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lathe/model"
	"lathe/model/tokenizer"
)

// generateResult is what `lathe generate --json` prints; IDs are the new ones.
type generateResult struct {
	Text            string  `json:"text"`
	IDs             []int32 `json:"ids"`
	FinishReason    string  `json:"finish_reason"`
	TokensPerSecond float64 `json:"tokens_per_second"`
}

func generateCommand(e *env) *cobra.Command {
	var f modelFlags
	var o model.GenerateOptions
	var prompt, promptIDs string
	cmd := &cobra.Command{
		Use:   "generate --model DIR (--prompt S | --prompt-ids 1,2,3)",
		Short: "Continue a prompt",
		Args:  maxArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("prompt") == cmd.Flags().Changed("prompt-ids") {
				return usage("generate needs one of --prompt and --prompt-ids")
			}
			if cmd.Flags().Changed("prompt-ids") && strings.TrimSpace(promptIDs) == "" {
				return usage("--prompt-ids is empty: give token ids such as 1,2,3")
			}
			if !(o.Temperature >= 0) || !(o.TopP >= 0) || o.TopP > 1 || o.TopK < 0 || o.MaxNewTokens < 1 {
				return usage("out of range: --temperature ≥ 0, --top-p in [0,1], --top-k ≥ 0, --max-new-tokens ≥ 1")
			}
			l, err := f.load(e)
			if err != nil {
				return err
			}
			defer l.close()
			tok, err := l.files.Tokenizer()
			if err != nil && (promptIDs == "" || !errors.Is(err, fs.ErrNotExist)) {
				return configError(fmt.Errorf("%s: %w", f.model, err))
			}
			ids, err := promptTokens(tok, prompt, promptIDs)
			if err != nil {
				return err
			}
			return e.generate(cmd, l.model, tok, ids, o)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&prompt, "prompt", "", "text to continue, as it is (no chat template)")
	cmd.Flags().StringVar(&promptIDs, "prompt-ids", "", "token ids to continue, comma-separated")
	cmd.Flags().IntVar(&o.MaxNewTokens, "max-new-tokens", 128, "longest answer")
	cmd.Flags().Float64Var(&o.Temperature, "temperature", 0, "0 is greedy")
	cmd.Flags().Float64Var(&o.TopP, "top-p", 1, "nucleus sampling")
	cmd.Flags().IntVar(&o.TopK, "top-k", 0, "0 is off")
	cmd.Flags().Uint64Var(&o.Seed, "seed", 0, "of the sampling")
	cmd.Flags().BoolVar(&o.IgnoreEOS, "ignore-eos", false, "go on after the end of the text")
	return cmd
}

func promptTokens(tok *tokenizer.Tokenizer, prompt, promptIDs string) ([]int32, error) {
	if promptIDs == "" {
		return tok.Encode(prompt, true), nil
	}
	var ids []int32
	for _, s := range strings.Split(promptIDs, ",") {
		id, err := strconv.ParseInt(strings.TrimSpace(s), 10, 32)
		if err != nil {
			return nil, usage("--prompt-ids: %q is no token id", s)
		}
		ids = append(ids, int32(id))
	}
	return ids, nil
}

// generate streams the text, or prints one object with --json. Without a tokenizer the text is the ids.
func (e *env) generate(cmd *cobra.Command, m *model.Model, tok *tokenizer.Tokenizer, ids []int32, o model.GenerateOptions) error {
	var text strings.Builder
	say := func(piece string) {
		text.WriteString(piece)
		if !e.json {
			fmt.Fprint(e.stdout, piece)
		}
	}
	stream := (*tokenizer.Stream)(nil)
	if tok != nil {
		stream = tok.NewStream()
	}
	result, err := m.Generate(cmd.Context(), ids, o, func(id int32, _ float32) bool {
		switch {
		case stream == nil:
			say(fmt.Sprintf("%d ", id))
		case !tok.IsSpecial(id):
			say(stream.Push(id))
		}
		return true
	})
	if err != nil {
		return err
	}
	if stream != nil {
		say(stream.Flush())
	}
	if !e.json {
		fmt.Fprintln(e.stdout)
		return nil
	}
	return writeJSON(e.stdout, generateResult{text.String(), append([]int32{}, result.IDs...), result.FinishReason, result.TokensPerSecond})
}
