package licence

import (
	"slices"
	"strings"
)

// known is a licence whose terms are listed.
type known struct {
	id    string
	name  string
	names []string // other spellings in model cards
	// marks are words that only this licence's text has, in lower case with single spaces; all must be there, near its start
	// where early is set, since longer texts quote others.
	marks []string
	early bool
	terms []Term
}

func (k *known) fill(l Licence) Licence {
	l.ID, l.Name, l.Known, l.Terms = k.id, k.name, true, slices.Clone(k.terms)
	return l
}

// named finds a licence by the name that a model card gives it.
func named(name string) *known {
	name = strings.ToLower(strings.TrimSpace(name))
	for i := range table {
		if k := &table[i]; name != "" && (name == k.id || slices.Contains(k.names, name)) {
			return k
		}
	}
	return nil
}

// nearStart is how far into a text a title may stand: after a notice, a logo's line, a copyright.
const nearStart = 1500

// recognise finds the licence whose text this is, nil when there is none or more than one.
func recognise(text string) *known {
	text = strings.ToLower(strings.Join(strings.Fields(strings.NewReplacer("*", "", "“", `"`, "”", `"`, "’", "'", "\\", "").Replace(text)), " "))
	start := text[:min(len(text), nearStart)]
	var found *known
	for i := range table {
		k := &table[i]
		within := text
		if k.early {
			within = start
		}
		if len(k.marks) == 0 || slices.ContainsFunc(k.marks, func(mark string) bool { return !strings.Contains(within, mark) }) {
			continue
		}
		if found != nil {
			return nil
		}
		found = k
	}
	return found
}

// llama makes the row of a Llama community licence; they differ in few words.
func llama(id, version, title, built, prefix string, extra ...Term) known {
	name := "Llama " + version + " Community License"
	if version == "3" {
		name = "Meta Llama 3 Community License"
	}
	terms := []Term{
		{Demands, "a licence from Meta if your products had more than 700 million monthly users when it was released", "§2"},
		{Demands, "a copy of the agreement wherever the model or a derivative is passed on", "§1.b.i"},
	}
	if built != "" {
		terms = append(terms,
			Term{Demands, "“" + built + "” shown prominently on a website, interface, blog post or documentation", "§1.b.i"},
			Term{Demands, "the name of a model trained from it to begin with “" + prefix + "”", "§1.b.i"})
	}
	terms = append(terms,
		Term{Demands, "a “Notice” text file with Meta's attribution line in every copy", "§1.b.iii"},
		Term{Forbids, "uses that the Acceptable Use Policy names (USE_POLICY.md)", "§1.b.iv"})
	return known{id: id, name: name, marks: []string{title}, early: true, terms: append(terms, extra...)}
}

// noOther is the clause that Llama 2 and 3 have and later versions do not.
func noOther(but string) Term {
	return Term{Forbids, "using the model or its output to improve any other large language model than " + but, "§1.b.v"}
}

// rail makes the row of a responsible AI licence.
func rail(id, name string, marks ...string) known {
	return known{id: id, name: name, marks: marks, early: true, terms: []Term{
		{Forbids, "the uses that its Attachment A lists", "Attachment A"},
		{Demands, "these restrictions passed on, as an enforceable provision, with the model and everything derived from it", "use-based restrictions"},
		{Demands, "a copy of the licence with every copy or derivative, and notices in changed files", "distribution and redistribution"},
	}}
}

// creative makes the row of a Creative Commons licence.
func creative(id, name string, marks []string, terms ...Term) known {
	terms = append([]Term{{Demands, "credit, the licence's notice, and a note of what was changed", "§3(a)"}}, terms...)
	return known{id: id, name: name, marks: marks, early: true, terms: terms}
}

var (
	nonCommercial = Term{Forbids, "any use that is primarily for commercial advantage or payment", "§1 NonCommercial, §2(a)(1)"}
	shareAlike    = Term{Demands, "adapted material under the same licence", "§3(b)"}
)

// table was written from the licences' own texts. A clause stands beside each term; what is not listed is not ruled out.
var table = []known{
	{
		id: "apache-2.0", name: "Apache License 2.0", names: []string{"apache 2.0", "apache license 2.0", "apache2.0"}, early: true,
		marks: []string{"apache license version 2.0, january 2004"}, terms: []Term{
			{Allows, "commercial use, changes and passing on", "§2"},
			{Demands, "a copy of the licence, and notices in changed files", "§4(a), §4(b)"},
			{Demands, "copyright notices and a NOTICE file, where there is one, kept", "§4(c), §4(d)"},
		},
	},
	{
		id: "mit", name: "MIT License", names: []string{"mit license"},
		marks: []string{"permission is hereby granted, free of charge, to any person obtaining a copy of this software", "the software is provided \"as is\""}, terms: []Term{
			{Allows, "commercial use, changes and passing on", "first paragraph"},
			{Demands, "its copyright and permission notice in all copies", "second paragraph"},
		},
	},
	{
		id: "bsd-3-clause", name: "BSD 3-Clause License",
		marks: []string{"redistribution and use in source and binary forms", "neither the name of"}, terms: []Term{
			{Allows, "commercial use, changes and passing on", "first paragraph"},
			{Demands, "its copyright notice and disclaimer in all copies", "clauses 1 and 2"},
			{Forbids, "the authors' names as an endorsement", "clause 3"},
		},
	},
	llama("llama2", "2", "llama 2 community license agreement", "", "", noOther("Llama 2 or its derivatives")),
	llama("llama3", "3", "meta llama 3 community license agreement", "Built with Meta Llama 3", "Llama 3", noOther("Meta Llama 3 or its derivatives")),
	llama("llama3.1", "3.1", "llama 3.1 community license agreement", "Built with Llama", "Llama"),
	llama("llama3.2", "3.2", "llama 3.2 community license agreement", "Built with Llama", "Llama"),
	llama("llama3.3", "3.3", "llama 3.3 community license agreement", "Built with Llama", "Llama"),
	{
		id: "gemma", name: "Gemma Terms of Use", names: []string{"gemma-terms-of-use", "gemma terms of use"}, early: true,
		marks: []string{"gemma terms of use"}, terms: []Term{
			{Forbids, "uses that the Gemma Prohibited Use Policy names; Google may restrict usage that it believes violates the terms", "§3.2"},
			{Demands, "these use restrictions as an enforceable provision of whatever agreement the model is passed on under", "§3.1"},
			{Demands, "a copy of the terms to every recipient, and notices in changed files", "§3.1"},
			{Demands, "a “Notice” text file: “Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms”", "§3.1"},
		},
	},
	{
		id: "tii-falcon-llm-1.0", name: "TII Falcon LLM License 1.0", names: []string{"tii-falcon-llm", "tii-falcon-llm-license"}, early: true,
		marks: []string{"tii falcon llm license version 1.0"}, terms: []Term{
			{Forbids, "commercial use without TII's written permission, which has to be applied for", "§8.1"},
			{Demands, "a royalty, 10% unless agreed otherwise, on attributable revenue above $1m a year", "§8.2"},
			{Demands, "“… is built using Falcon LLM technology from the Technology Innovation Institute” in public statements", "§5.1"},
			{Demands, "derivatives under this same licence, unless TII has permitted commercial use", "§4.3"},
			{Demands, "a copy of the licence, and notices in changed files", "§4.1"},
		},
	},
	{
		id: "falcon-180b-tii-1.0", name: "Falcon 180B TII License 1.0", names: []string{"falcon-180b-tii-license", "falcon-180b-license"}, early: true,
		marks: []string{"falcon 180b tii license version 1.0"}, terms: []Term{
			{Forbids, "uses outside of its Acceptable Use Policy, which may change and has to be watched", "§5.1, §5.3"},
			{Demands, "possibly a separate licence for hosted services", "introductory note"},
		},
	},
	creative("cc-by-4.0", "Creative Commons Attribution 4.0", []string{"attribution 4.0 international"},
		Term{Allows, "commercial use, changes and passing on", "§2(a)(1)"}),
	creative("cc-by-sa-4.0", "Creative Commons Attribution-ShareAlike 4.0", []string{"attribution-sharealike 4.0 international"}, shareAlike),
	creative("cc-by-nc-4.0", "Creative Commons Attribution-NonCommercial 4.0", []string{"attribution-noncommercial 4.0 international"}, nonCommercial),
	creative("cc-by-nc-sa-4.0", "Creative Commons Attribution-NonCommercial-ShareAlike 4.0",
		[]string{"attribution-noncommercial-sharealike 4.0 international"}, nonCommercial, shareAlike),
	creative("cc-by-nc-nd-4.0", "Creative Commons Attribution-NonCommercial-NoDerivatives 4.0",
		[]string{"attribution-noncommercial-noderivatives 4.0 international"}, nonCommercial,
		Term{Forbids, "sharing adapted material, such as a fine-tuned model", "§2(a)(1)(B)"}),
	rail("bigscience-bloom-rail-1.0", "BigScience RAIL License 1.0", "bigscience rail license v1.0"),
	rail("bigscience-openrail-m", "BigScience OpenRAIL-M", "bigscience open rail-m license"),
	rail("creativeml-openrail-m", "CreativeML OpenRAIL-M", "creativeml open rail-m"),
	rail("bigcode-openrail-m", "BigCode OpenRAIL-M", "bigcode open rail-m"),
	{
		id: "mrl", name: "Mistral AI Research License", names: []string{"mistral-ai-research-licence"}, early: true,
		marks: []string{"mistral ai research license"}, terms: []Term{
			{Forbids, "using the models, their derivatives or their output for anything but research", "§3.2"},
		},
	},
	{
		id: "qwen-research", name: "Qwen Research License", early: true,
		marks: []string{"qwen research license agreement"}, terms: []Term{
			{Forbids, "commercial use: rights are granted for non-commercial purposes only", "grant of rights"},
		},
	},
	{
		id: "llama-1", name: "LLaMA License (non-commercial)",
		marks: []string{"reproduce, distribute, and create derivative works of the software solely for your non-commercial research purposes"}, terms: []Term{
			{Forbids, "any use but non-commercial research", "§1.a, §2"},
		},
	},
}
