package synthetic

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"lathe/datasets"
	"lathe/session"
)

// Rows is how many rows the made-up dataset has.
const Rows = 3200

var (
	subjects = []string{"refund", "delivery", "warranty", "invoice", "account", "exchange", "gift card"}
	asks     = []string{"Explain our company %s policy.", "A customer asks about the %s. Answer politely.", "How do I explain the %s to a new customer?"}
	systems  = "You are a support agent of a small shop."
)

// record is a made-up row's question and answer; a few are as broken as rows are.
func record(i int) (question, answer string) {
	subject := subjects[i*5%len(subjects)]
	question = fmt.Sprintf(asks[i%len(asks)], subject)
	answer = fmt.Sprintf("Thank you for reaching out!\n\nOur %s policy: you have %d days from the day of purchase, and we need the receipt.\n\n"+
		"Next step: reply to this message with your order number.", subject, 14+i%4*7)
	switch i {
	case 17:
		answer = strings.Replace(answer, "reply to this message", "write to jo\u200bhn.miller@example.com", 1)
	case 21:
		answer = ""
	case 940:
		question, answer = "Übersetze: „Rückgabe“ · 退货政策是什么？", "谢谢您的来信！\n\n退货政策：购买后三十天内可以退货。 🙂"
	}
	return question, answer
}

// Row is row i of the made-up dataset: a conversation as JSON. Row 2500 is broken off.
func Row(i int) (datasets.Row, error) {
	if i < 0 || i >= Rows {
		return datasets.Row{}, fmt.Errorf("read row %d: the dataset has %d rows: %w", i, Rows, io.EOF)
	}
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	question, answer := record(i)
	raw, err := json.Marshal(struct {
		Messages []message `json:"messages"`
		Source   string    `json:"source"`
		Weight   float64   `json:"weight"`
	}{[]message{{"system", systems}, {"user", question}, {"assistant", answer}}, "tickets", 1})
	if err != nil {
		return datasets.Row{}, err
	}
	if i == 2500 {
		raw = raw[:len(raw)/2]
	}
	row := datasets.NewRow(raw, datasets.Options{})
	row.File, row.Index, row.Line = "data/support.jsonl", i, i+1
	return row, nil
}

// Tokens is row i as a model with a simple template and a tokenizer of words would see it.
func Tokens(i int) (datasets.View, error) {
	row, err := Row(i)
	if err != nil {
		return datasets.View{}, err
	}
	if row.Problem != "" {
		return datasets.View{}, fmt.Errorf("%s:%d: row %d: %s", row.File, row.Line, row.Index, row.Problem)
	}
	question, answer := record(i)
	var v datasets.View
	add := func(text string, trained, special bool) {
		from := len(v.Text)
		v.Text += text
		v.Tokens = append(v.Tokens, datasets.Token{ID: int32(100 + len(v.Tokens)*7%900), Text: text, Span: [2]int{from, len(v.Text)}, Trained: trained, Special: special})
		if trained {
			v.Trained++
		}
	}
	for _, turn := range []struct{ role, text string }{{"system", systems}, {"user", question}, {"assistant", answer}} {
		trained := turn.role == "assistant"
		add("<|"+turn.role+"|>", false, true)
		add("\n", false, false)
		for _, word := range Pieces(turn.text) {
			add(word, trained, false)
		}
		add("<|end|>", trained, true)
		add("\n", false, false)
	}
	return v, nil
}

// Pieces cuts a text as a tokenizer might: words with the blank before them, long ones in two, newlines alone.
func Pieces(text string) []string {
	var out []string
	cur := ""
	flush := func() {
		if r := []rune(cur); len(r) > 9 {
			out = append(out, string(r[:6]))
			cur = string(r[6:])
		}
		if cur != "" {
			out = append(out, cur)
		}
		cur = ""
	}
	for _, r := range text {
		switch {
		case r == '\n' || strings.ContainsRune(".,:!?", r):
			flush()
			out = append(out, string(r))
		case r == ' ':
			flush()
			cur = " "
		default:
			cur += string(r)
		}
	}
	flush()
	return out
}

// Checked replaces what Loaded found by findings of many kinds, and labels a few rows.
func (t *Tape) Checked() *Tape {
	const file = "data/support.jsonl"
	_, answer := record(17)
	at, mail := strings.Index(answer, "\u200b"), strings.Index(answer, "jo\u200b")
	found := []datasets.Finding{
		{Line: 18, Row: 17, Field: "messages[2].content", Code: datasets.CodePIIEmail, Level: datasets.LevelWarn, Message: "an e-mail address", Span: [2]int{mail, mail + len("jo\u200bhn.miller@example.com")}},
		{Line: 18, Row: 17, Field: "messages[2].content", Code: datasets.CodeZeroWidth, Level: datasets.LevelWarn, Message: "a zero-width space, unseen and trained all the same", Span: [2]int{at, at + 3}},
		{Line: 22, Row: 21, Field: "messages[2].content", Code: datasets.CodeEmptyOutput, Level: datasets.LevelError, Message: "the answer is empty: there is nothing to train on"},
		{Line: 2501, Row: 2500, Code: datasets.CodeDataType, Level: datasets.LevelError, Message: "not JSON: the text ends inside of a string"},
		{Line: 3001, Row: 3000, Code: datasets.CodeDuplicateExact, Level: datasets.LevelWarn, Message: "the same as row 2160 on line 2161"},
	}
	for i := range found {
		found[i].File = file
	}
	t.Add(session.Linted{Path: file, Findings: found, Summary: datasets.Summary{
		File: file, Rows: Rows, Errors: 2, Warnings: 3,
		Codes:   map[string]int{"pii_email": 1, "zero_width": 1, "empty_output": 1, "data_type": 1, "duplicate_exact": 1},
		Formats: map[datasets.Format]int{datasets.FormatMessages: Rows - 1, datasets.FormatInvalid: 1},
	}})
	for _, l := range []struct {
		row   int
		label string
	}{{0, "good"}, {1, "good"}, {3, "unsure"}, {4, "good"}, {12, "bad"}, {940, "bad"}, {2500, "bad"}, {2501, "good"}} {
		t.Add(session.Labelled{Path: file, Row: l.row, Label: l.label})
	}
	return t
}
