package model

import "testing"

func TestBadInputs(t *testing.T) {
	m := randomLoRA(t, randomModel(t, openDevice(t), LoadOptions{}), LoRAConfig{R: 2, Alpha: 4})
	for _, c := range []struct {
		name string
		in   Input
		says []string
	}{
		{"empty", Input{}, []string{"no tokens"}},
		{"beyond the vocabulary", Input{Tokens: []int32{1, 97}, Labels: []int32{1, Ignore}}, []string{"token 1", "97", "vocabulary"}},
		{"negative id", Input{Tokens: []int32{-3}, Labels: []int32{1}}, []string{"token 0", "-3"}},
		{"label", Input{Tokens: []int32{1, 2}, Labels: []int32{1, 4000}}, []string{"label 1", "4000"}},
		{"labels", Input{Tokens: []int32{1, 2}, Labels: []int32{1}}, []string{"2 tokens", "1 labels"}},
		{"positions", Input{Tokens: []int32{1}, Labels: []int32{1}, Positions: []int32{-1}}, []string{"position -1"}},
		{"starts", Input{Tokens: []int32{1, 2}, Labels: []int32{1, 2}, Seqs: []int32{0, 1}}, []string{"starts"}},
		{"backwards", Input{Tokens: []int32{1, 2}, Labels: []int32{1, 2}, Seqs: []int32{0, 2, 1, 2}}, []string{"sequence 1"}},
	} {
		if _, err := m.ForwardBackward(c.in, StepOptions{}); !saysAll(err, c.says...) {
			t.Errorf("%s: training said %v, want %q", c.name, err, c.says)
		}
		if _, err := m.LogProbs(c.in); !saysAll(err, c.says...) {
			t.Errorf("%s: scoring said %v, want %q", c.name, err, c.says)
		}
	}
	if _, err := m.With(nil).ForwardBackward(randomInput(3), StepOptions{}); !saysAll(err, "trainable") {
		t.Errorf("training nothing: %v", err)
	}
	m.cfg.AttnDropout = 0.1
	if _, err := m.ForwardBackward(randomInput(3), StepOptions{}); !saysAll(err, "attention_dropout") {
		t.Errorf("attention dropout: %v", err)
	}
}
