package licence

import (
	"strings"
	"testing"
	"testing/fstest"
)

func folder(files ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		fsys[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return fsys
}

// clause finds a term by its clause.
func clause(t *testing.T, l Licence, name string) Term {
	t.Helper()
	for _, term := range l.Terms {
		if term.Clause == name {
			return term
		}
	}
	t.Fatalf("%s has no term of %s: %+v", l.ID, name, l.Terms)
	return Term{}
}

func TestModelCards(t *testing.T) {
	for _, test := range []struct {
		card, id, line string
		known          bool
	}{
		{"---\nlicense: apache-2.0\n---\n# A model", "apache-2.0", "Apache License 2.0", true},
		{"---\r\nlicense: llama3.1\r\n---\r\n", "llama3.1", "Llama 3.1 Community License", true},
		{"\xef\xbb\xbf---\nlicense: gemma\n---\n", "gemma", "Gemma Terms of Use", true},
		{"---\nlicense: other\nlicense_name: mrl\nlicense_link: LICENSE\n---\n", "mrl", "Mistral AI Research License (README.md)", true},
		{"---\nlicense: [mit]\n---\n", "mit", "MIT License", true},
		{"---\nlicense: other\nlicense_name: house-rules\n---\n", "", "other: house-rules (README.md)", false},
		{"---\nlicense: [mit, apache-2.0]\n---\n", "", "mit, apache-2.0 (README.md)", false}, // which of them is not for us to say
		{"---\nbase_model: x\n---\n", "", "not stated: no model card and no licence file", false},
		{"---\nlicense: {a: 1}\n---\n", "", "not stated: no model card and no licence file", false},
		{"---\nlicense: mit", "", "not stated: no model card and no licence file", false},
		{"license: mit\n", "", "not stated: no model card and no licence file", false},
	} {
		l := Read(folder("README.md", test.card))
		if l.ID != test.id || l.Known != test.known || l.String() != test.line || test.known != (len(l.Terms) > 0) {
			t.Errorf("%q: %+v, in a line %q", test.card, l, l.String())
		}
	}
}

// The titles and first clauses by which texts are known, as the files begin.
var texts = map[string]string{
	"apache-2.0":          "                                 Apache License\n                           Version 2.0, January 2004\n                        http://www.apache.org/licenses/\n",
	"mit":                 "MIT License\n\nCopyright (c) 2023\n\nPermission is hereby granted, free of charge, to any person obtaining a copy\nof this software and so on\nTHE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT\n",
	"llama2":              "LLAMA 2 COMMUNITY LICENSE AGREEMENT\t\nLlama 2 Version Release Date: July 18, 2023\n",
	"llama3":              "META LLAMA 3 COMMUNITY LICENSE AGREEMENT\n\nMeta Llama 3 Version Release Date: April 18, 2024\n",
	"llama3.1":            "LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\n",
	"llama3.2":            "LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\n",
	"llama3.3":            "**LLAMA 3.3 COMMUNITY LICENSE AGREEMENT**\n",
	"gemma":               "# Gemma Terms of Use\n\nLast modified: April 1, 2024\n",
	"tii-falcon-llm-1.0":  "TII Falcon LLM License Version 1.0\nMay 2023\n",
	"falcon-180b-tii-1.0": "FALCON 180B TII LICENSE VERSION 1.0\nSeptember 2023\n",
	"cc-by-nc-4.0":        "Attribution-NonCommercial 4.0 International\n",
	"cc-by-nc-sa-4.0":     "Attribution-NonCommercial-ShareAlike 4.0 International\n",
	"cc-by-4.0":           "Attribution 4.0 International\n",
}

func TestTexts(t *testing.T) {
	for id, text := range texts {
		for _, name := range []string{"LICENSE", "LICENSE.txt", "LICENCE.md"} {
			if l := Read(folder(name, text)); l.ID != id || l.Source != name || len(l.Terms) == 0 {
				t.Errorf("%s in %s: %+v", id, name, l)
			}
		}
	}
	l := Read(folder("LICENSE", "\n\nThe Licence of This House\nyou may\n"))
	if l.Known || l.String() != "The Licence of This House (LICENSE)" || len(l.Terms) != 0 {
		t.Errorf("an unknown text: %+v", l)
	}
	if l := Read(folder("LICENSE", texts["mit"]+texts["gemma"])); l.Known {
		t.Errorf("a text of two licences: %+v", l)
	}
	if l := Read(folder("LICENSE", "")); l.String() != "not stated: no model card and no licence file" {
		t.Errorf("an empty file: %+v", l)
	}
}

func TestCardAndText(t *testing.T) {
	l := Read(folder("README.md", "---\nlicense: apache-2.0\n---\n", "LICENSE", texts["llama3.1"]))
	if l.ID != "apache-2.0" || !strings.Contains(l.Conflict, "Llama 3.1") || !strings.Contains(l.Conflict, "LICENSE") {
		t.Errorf("a card that contradicts the text: %+v", l)
	}
	l = Read(folder("README.md", "---\nlicense: other\nlicense_link: https://example.com\n---\n", "LICENSE.txt", texts["tii-falcon-llm-1.0"]))
	if l.ID != "tii-falcon-llm-1.0" || l.Link != "https://example.com" || l.Conflict != "" {
		t.Errorf("a card that says other: %+v", l)
	}
}

// What people most often need to know of the licences in the issue.
func TestClauses(t *testing.T) {
	of := func(id string) Licence { return Read(folder("README.md", "---\nlicense: "+id+"\n---\n")) }
	for _, id := range []string{"llama2", "llama3", "llama3.1", "llama3.2", "llama3.3"} {
		if term := clause(t, of(id), "§2"); !strings.Contains(term.Text, "700 million") || term.Kind != Demands {
			t.Errorf("%s: %+v", id, term)
		}
	}
	if l := of("llama3"); !strings.Contains(clause(t, l, "§1.b.v").Text, "improve any other") {
		t.Errorf("llama3: %+v", l.Terms)
	}
	for _, term := range of("llama3.1").Terms { // the clause was dropped with 3.1
		if term.Clause == "§1.b.v" {
			t.Errorf("llama3.1: %+v", term)
		}
	}
	if term := clause(t, Read(folder("LICENSE", texts["tii-falcon-llm-1.0"])), "§8.2"); !strings.Contains(term.Text, "10%") {
		t.Errorf("Falcon's royalty: %+v", term)
	}
	if term := clause(t, of("gemma"), "§3.2"); term.Kind != Forbids || !strings.Contains(term.Text, "Prohibited Use Policy") {
		t.Errorf("gemma: %+v", term)
	}
	seen := map[string]bool{}
	for _, k := range table {
		if seen[k.id] || k.id != strings.ToLower(k.id) || len(k.terms) == 0 {
			t.Errorf("row %q is given twice, has a name that no card has, or no terms", k.id)
		}
		seen[k.id] = true
		for _, term := range k.terms {
			if term.Clause == "" || strings.HasSuffix(term.Text, ".") {
				t.Errorf("%s: %+v", k.id, term)
			}
		}
	}
}
