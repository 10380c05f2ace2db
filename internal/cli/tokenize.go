package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"lathe/datasets"
)

func tokenizeCommand(e *env) *cobra.Command {
	var dir, file string
	cmd := &cobra.Command{
		Use:   "tokenize --model DIR --text FILE",
		Short: "Token ids of each line's text",
		Args:  maxArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usage(`which text? name JSON lines {"text":…} with --text FILE`)
			}
			tok, err := openTokenizer(dir)
			if err != nil {
				return err
			}
			return eachLine(e, file, func(_ int, row textRow) error {
				if row.Text == nil {
					return errors.New(`no "text" in this line`)
				}
				ids := tok.Encode(*row.Text, true)
				if ids == nil {
					ids = []int32{}
				}
				return writeJSON(e.stdout, struct {
					IDs []int32 `json:"ids"`
				}{ids})
			})
		},
	}
	cmd.Flags().StringVar(&dir, "model", "", "model folder")
	cmd.Flags().StringVar(&file, "text", "", `JSON lines {"text":…}; - is standard input`)
	return cmd
}

// renderResult is a line of `lathe render`: Mask is 1 where a token is trained.
type renderResult struct {
	Text string  `json:"text"`
	IDs  []int32 `json:"ids"`
	Mask []int   `json:"mask"`
}

func renderCommand(e *env) *cobra.Command {
	var dir, file string
	cmd := &cobra.Command{
		Use:   "render --model DIR --messages FILE",
		Short: "Text, token ids and trained mask that the chat template gives",
		Args:  maxArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usage(`which messages? name JSON lines {"messages":[…]} with --messages FILE`)
			}
			enc, err := openEncoder(dir, 0)
			if err != nil {
				return err
			}
			if enc.Renderer == nil {
				return usage("%s has no chat template: neither chat_template.jinja nor chat_template in tokenizer_config.json", dir)
			}
			return eachLine(e, file, func(_ int, request json.RawMessage) error {
				r, err := render(enc, request)
				if err != nil {
					return err
				}
				return writeJSON(e.stdout, r)
			})
		},
	}
	cmd.Flags().StringVar(&dir, "model", "", "model folder")
	cmd.Flags().StringVar(&file, "messages", "", `JSON lines {"messages":[…],"add_generation_prompt":b,"tools":[…]}; - is standard input`)
	return cmd
}

func render(enc *datasets.Encoder, request []byte) (renderResult, error) {
	text, trained, err := enc.Renderer.Render(request)
	if err != nil {
		return renderResult{}, fmt.Errorf("render: %w", err)
	}
	ids, spans := enc.Tokenizer.EncodeSpans(text, false)
	r := renderResult{Text: text, IDs: append([]int32{}, ids...), Mask: make([]int, len(ids))}
	for i, s := range spans {
		for _, t := range trained {
			if s[0] < t[1] && t[0] < s[1] {
				r.Mask[i] = 1
			}
		}
	}
	return r, nil
}
