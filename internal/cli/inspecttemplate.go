package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lathe/model/template"
)

// templateReport is the health of a chat template.
type templateReport struct {
	Source string   `json:"source"` // the file it lies in
	Names  []string `json:"names"`  // of several named templates
	// EndsWith is the token that ends an assistant's turn, "" where none does; Stops tells whether a generation ends at it.
	EndsWith string `json:"ends_with"`
	Stops    bool   `json:"stops"`
	// Masked tells that the assistant's tokens can be told from the others, as training on answers needs; Generation that the
	// template marks them itself ({% generation %}).
	Masked     bool `json:"masked"`
	Generation bool `json:"generation"`
	// Prefix tells that what was rendered of a conversation stays as it was when the conversation goes on.
	Prefix bool `json:"prefix"`
	System bool `json:"system"` // it takes a system message
}

// chat is a conversation with contents that are easy to find again.
type chat []map[string]string

const probeAnswer = "Zwei Äpfel 42"

var (
	probeSystem = map[string]string{"role": "system", "content": "Be brief."}
	probeChat   = chat{
		{"role": "user", "content": "First question?"},
		{"role": "assistant", "content": probeAnswer},
		{"role": "user", "content": "Second question?"},
		{"role": "assistant", "content": probeAnswer},
	}
)

func (c chat) request(generate bool) []byte {
	out, _ := json.Marshal(map[string]any{"messages": c, "add_generation_prompt": generate}) // strings alone: it cannot fail
	return out
}

// readTemplate renders a short conversation and looks whether training and generation can rely on it.
func (in *inspection) readTemplate(dir string) {
	t, err := template.Load(dir)
	switch {
	case errors.Is(err, template.ErrNone):
		in.Template = "none: prompts and completions are trained as plain text"
		in.note(levelInfo, "template", "there is none: rows of messages are refused; prompt and completion are trained as plain text, alpaca with the Stanford prompt")
		return
	case err != nil:
		in.Template = "unusable: " + err.Error()
		in.note(levelError, "template", "%v", err)
		return
	}
	r := &templateReport{Generation: strings.Contains(t.Source(), "generation %}") || strings.Contains(t.Source(), "generation -%}"), Names: []string{}}
	r.Source, r.Names = templateSource(dir)
	in.TemplateHealth = r
	in.Template = "chat template present"
	whole, spans, err := t.Render(probeChat.request(false))
	if errors.Is(err, template.ErrMask) {
		in.note(levelWarn, "template", "the assistant's tokens cannot be told from the others (%v): training needs train_on_inputs: true, or a template with {%% generation %%}", err)
	} else if err != nil {
		in.Template = "unusable: " + err.Error()
		in.note(levelError, "template", "it refuses a conversation of two turns: %v", err)
		return
	}
	r.Masked = err == nil && len(spans) == 2
	in.checkPrefix(t, whole)
	_, systemErr := t.Text(append(chat{probeSystem}, probeChat...).request(false))
	r.System = systemErr == nil
	if systemErr != nil {
		in.note(levelInfo, "template", "it takes no system message: rows that have one are refused")
	}
	in.checkEnd(whole, spans)
	if r.EndsWith != "" {
		in.Template += ", turns end with " + r.EndsWith
	}
}

// checkPrefix looks whether earlier turns stay as they were rendered, as prompts for generation and caches need.
func (in *inspection) checkPrefix(t *template.Template, whole string) {
	r := in.TemplateHealth
	prompt, err := t.Text(probeChat[:1].request(true))
	first, err2 := t.Text(probeChat[:2].request(false))
	r.Prefix = err == nil && err2 == nil && strings.HasPrefix(first, prompt) && strings.HasPrefix(whole, strings.TrimRight(first, "\n "))
	switch {
	case err != nil:
		in.note(levelWarn, "template", "it cannot begin an answer (add_generation_prompt): %v", err)
	case !r.Prefix && err2 == nil:
		in.note(levelInfo, "template", "what it renders of earlier turns, or before an answer, is not what it renders later: training sees another text than generation does")
	}
}

// checkEnd finds the token that ends an answer, and whether generation stops at it.
func (in *inspection) checkEnd(whole string, spans [][2]int) {
	r := in.TemplateHealth
	tok := in.tok
	if tok == nil {
		return
	}
	at := strings.LastIndex(whole, probeAnswer)
	if at < 0 {
		in.note(levelWarn, "template", "it changes the answer's text: what is trained is not what the row says")
		return
	}
	tail := whole[at+len(probeAnswer):]
	if len(spans) == 2 { // what training sees of it
		tail = whole[at+len(probeAnswer) : max(spans[1][1], at+len(probeAnswer))]
	}
	end := int32(-1)
	if ids := tok.Encode(strings.TrimSpace(tail), false); strings.TrimSpace(tail) != "" && len(ids) > 0 {
		end = ids[0]
	}
	special := end >= 0 && (tok.IsSpecial(end) || slices.Contains(tok.StopIDs(), end))
	if !special {
		in.note(levelWarn, "template", "no special token ends an answer (%q follows it): the model would not learn to stop", clipText(tail, 24))
		return
	}
	r.EndsWith, r.Stops = tok.Token(end), slices.Contains(tok.StopIDs(), end)
	if !r.Stops {
		in.note(levelWarn, "template", "an answer ends with %s (%d), at which generation does not stop: add it to eos_token_id of generation_config.json", r.EndsWith, end)
	}
}

func clipText(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// templateSource is the file that holds the template, and the names where it holds several.
func templateSource(dir string) (source string, names []string) {
	names = []string{}
	extra, _ := filepath.Glob(filepath.Join(dir, "additional_chat_templates", "*.jinja")) // the pattern is sound
	for _, path := range extra {
		names = append(names, strings.TrimSuffix(filepath.Base(path), ".jinja"))
	}
	if fileIn(dir, "chat_template.jinja") {
		return "chat_template.jinja", names
	}
	for _, file := range []string{"tokenizer_config.json", "chat_template.json"} {
		var config struct {
			Template json.RawMessage `json:"chat_template"`
		}
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || json.Unmarshal(data, &config) != nil || len(config.Template) == 0 || string(config.Template) == "null" {
			continue
		}
		var list []struct{ Name string }
		if json.Unmarshal(config.Template, &list) == nil {
			for _, t := range list {
				names = append(names, t.Name)
			}
		}
		return file, names
	}
	return "", names
}
