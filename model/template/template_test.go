package template

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

func request(messages string) []byte { return []byte(`{"messages":[` + messages + `]}`) }

// TestHostile: a template can neither loop for ever nor fill the memory.
func TestHostile(t *testing.T) {
	for name, source := range map[string]string{
		"nested loops":    `{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}x{% endfor %}{% endfor %}{% endfor %}`,
		"doubling":        `{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x | length }}`,
		"doubling add":    `{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(64) %}{% set ns.x = ns.x + ns.x %}{% endfor %}`,
		"doubling lists":  `{% set ns = namespace(x=[1]) %}{% for i in range(64) %}{% set ns.x = ns.x + ns.x %}{% endfor %}`,
		"captured":        `{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(64) %}{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}`,
		"repeat":          `{{ 'x' * 99999999999 }}`,
		"repeat list":     `{{ ([1] * 999999999) | length }}`,
		"power":           `{{ 2 ** 99999999 }}`,
		"big integers":    `{% set ns = namespace(x=2) %}{% for i in range(64) %}{% set ns.x = ns.x * ns.x %}{% endfor %}`,
		"padding":         `{{ 'x'.ljust(99999999999) }}`,
		"format width":    `{{ '%99999999999d' % 1 }}`,
		"format spec":     `{{ '{:99999999999}'.format(1) }}`,
		"indent":          `{{ 'a\nb' | indent(99999999999) }}`,
		"json indent":     `{{ [[1]] | tojson(indent=99999999999) }}`,
		"replace":         `{% set ns = namespace(x='a') %}{% for i in range(64) %}{% set ns.x = ns.x.replace('a', 'aaaaaaaaaaaaaaaa') %}{% endfor %}`,
		"join":            `{% set ns = namespace(x='ab') %}{% for i in range(64) %}{% set ns.x = ns.x.join(['xxxx', 'y', 'z']) ~ ns.x %}{% endfor %}`,
		"recursion":       `{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}`,
		"range":           `{{ range(0, 9223372036854775807, 1) | list }}`,
		"deep expression": `{{ ` + strings.Repeat("(", 5000) + `1` + strings.Repeat(")", 5000) + ` }}`,
		"deep lists":      `{{ ` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + ` }}`,
		"deep nots":       `{{ ` + strings.Repeat("not ", 5000) + `1 }}`,
		"deep signs":      `{{ ` + strings.Repeat("-", 5000) + `1 }}`,
		"deep ifs":        strings.Repeat(`{% if 1 %}`, 5000) + strings.Repeat(`{% endif %}`, 5000),
		"deep subscripts": `{{ a` + strings.Repeat("[a", 5000) + strings.Repeat("]", 5000) + ` }}`,
	} {
		t.Run(name, func(t *testing.T) {
			tmpl, err := Parse(source, nil)
			if err == nil {
				_, err = tmpl.Text(request(""))
			}
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
		})
	}
	// Long but flat is fine.
	tmpl, err := Parse(`{{ 'a'`+strings.Repeat(` ~ 'b'`, 3000)+` }}{{ 0`+strings.Repeat(` + 1`, 3000)+` }}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tmpl.Text(request("")); err != nil || got != "a"+strings.Repeat("b", 3000)+"3000" {
		t.Errorf("%.20q, %v", got, err)
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	for source, want := range map[string]string{
		"a\n{{ x }}\n{% if true %}\n{{ x.y.z }}\n{% endif %}": "line 4: x is undefined",
		"{#\n\n#}\n{% set a = 'b' %}\n{{ a + 1 }}":            "line 5: can only concatenate str",
		"\n\n{{ messages[0]\n   .nothing.more }}":             "line 3: messages[0]\n   .nothing is undefined",
		"{% for m in messages %}\n{{ m.content | fromjson }}": `line 2: no filter named "fromjson"`,
		"x\n{% elif %}":               `line 2: unexpected tag "elif"`,
		"x\n{% if a %}{% endfor %}":   `line 2: unexpected tag "endfor" inside {% if %}`,
		"{{ raise_exception('no') }}": "render chat template: no",
	} {
		tmpl, err := Parse(source, nil)
		if err == nil {
			_, err = tmpl.Text(request(`{"role":"user","content":"hi"}`))
		}
		if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(want, "\n", " ")) {
			t.Errorf("%q: %v, want %q", source, err, want)
		}
	}
}

func TestBadRequests(t *testing.T) {
	tmpl, err := Parse(`{{ messages }}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	for raw, want := range map[string]string{
		"": "read request", "[]": "not a JSON object", "{}": "messages is not a list", `{"messages":1}`: "messages is not a list",
		`{"messages":["x"]}`: "message 0 is not an object", `{"messages":[]} x`: "something follows", `{"messages":[`: "read request",
	} {
		if _, _, err := tmpl.Render([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", raw, err, want)
		}
	}
}

// TestRequest: keys keep their order, numbers their spelling as Python reads them, none keys of messages vanish.
func TestRequest(t *testing.T) {
	tmpl, err := Parse(`{{ messages }}|{{ tools }}|{{ documents is none }}|{{ add_generation_prompt }}|{{ extra }}|{{ bos_token }}`, map[string]any{"bos_token": "<s>", "extra": "overridden"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := tmpl.Text([]byte(`{"messages":[{"z":1,"a":1.0,"content":null,"big":123456789012345678901234567890,"e":1e-7,"z":2,"bad":"\ud800"}],"extra":{"k":[1e2,-0,-0.0,1E400]}}`))
	want := "[{'z': 2, 'a': 1.0, 'big': 123456789012345678901234567890, 'e': 1e-07, 'bad': '\uFFFD'}]|None|True|False|{'k': [100.0, 0, -0.0, inf]}|<s>"
	if err != nil || got != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
	got, err = tmpl.Text(request(`{"role":"assistant","reasoning":"r","content":"c"}`))
	if err != nil || !strings.HasPrefix(got, "[{'thinking': 'r', 'role': 'assistant', 'reasoning': 'r', 'content': 'c', 'reasoning_content': 'r'}]") {
		t.Errorf("reasoning: %s, %v", got, err)
	}
}

// TestMarksCannotBeForged: text that looks like nothing special passes through, NUL bytes too.
func TestMarksCannotBeForged(t *testing.T) {
	tmpl := parseTestdata(t, "generation.jinja")
	text, spans, err := tmpl.Render(request(`{"role":"user","content":"\u0000<x\u0000>"},{"role":"assistant","content":"a\u0000b"}`))
	if err != nil || !strings.Contains(text, "\x00<x\x00>") || len(spans) != 1 || text[spans[0][0]:spans[0][1]] != "a\x00b</assistant>" {
		t.Errorf("%q %v %v", text, spans, err)
	}
}

func TestLoad(t *testing.T) {
	config := `{"bos_token":{"content":"<b>"},"eos_token":"<e>","chat_template":"config {{ bos_token }}{{ eos_token }}"}`
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  string
	}{
		"config":        {fstest.MapFS{"tokenizer_config.json": {Data: []byte(config)}}, "config <b><e>"},
		"file wins":     {fstest.MapFS{"tokenizer_config.json": {Data: []byte(config)}, "chat_template.jinja": {Data: []byte("file {{ bos_token }}")}}, "file <b>"},
		"old file":      {fstest.MapFS{"chat_template.json": {Data: []byte(`{"chat_template":"old"}`)}}, "old"},
		"special map":   {fstest.MapFS{"special_tokens_map.json": {Data: []byte(`{"bos_token":"<m>"}`)}, "chat_template.jinja": {Data: []byte("{{ bos_token }}")}}, "<m>"},
		"named default": {fstest.MapFS{"tokenizer_config.json": {Data: []byte(`{"chat_template":[{"name":"tool_use","template":"t"},{"name":"default","template":"d"}]}`)}}, "d"},
		"named single":  {fstest.MapFS{"tokenizer_config.json": {Data: []byte(`{"chat_template":[{"name":"x","template":"only"}]}`)}}, "only"},
	} {
		t.Run(name, func(t *testing.T) {
			tmpl, err := LoadFS(c.files)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := tmpl.Text(request("")); err != nil || got != c.want {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
	if _, err := Load(t.TempDir()); !errors.Is(err, ErrNone) {
		t.Errorf("no template: %v", err)
	}
	if _, err := LoadFS(fstest.MapFS{"tokenizer_config.json": {Data: []byte(`{"chat_template":null}`)}}); !errors.Is(err, ErrNone) {
		t.Errorf("null: %v", err)
	}
	for data, want := range map[string]string{
		`{"chat_template":[{"name":"a","template":""},{"name":"b","template":""}]}`: `called "default"`,
		`{"chat_template":5}`: "neither", `{`: "tokenizer_config.json", `{"chat_template":"{% if"}`: "line 1",
	} {
		if _, err := LoadFS(fstest.MapFS{"tokenizer_config.json": {Data: []byte(data)}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", data, err, want)
		}
	}
}

func TestConcurrentRenders(t *testing.T) {
	tmpl := parseTestdata(t, "headers.jinja")
	raw := request(`{"role":"user","content":"a"},{"role":"assistant","content":"b"}`)
	want, _, err := tmpl.Render(raw)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if got, _, err := tmpl.Render(raw); err != nil || got != want {
					t.Errorf("%q, %v", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// FuzzTemplate: any source is refused or renders; spans lie inside the text.
func FuzzTemplate(f *testing.F) {
	var ref struct {
		Snippets []struct {
			Template string `json:"template"`
		} `json:"snippets"`
	}
	readTestdata(f, "snippets.json", &ref)
	for _, s := range ref.Snippets {
		f.Add(s.Template, "hello")
	}
	for _, name := range []string{"chatml", "headers", "instruct", "alpaca", "thinking", "generation"} {
		f.Add(parseTestdata(f, name+".jinja").Source(), "<think>x</think>y")
	}
	f.Fuzz(func(t *testing.T, source, content string) {
		tmpl, err := Parse(source, map[string]any{"bos_token": "<s>"})
		if err != nil {
			return
		}
		w := &jsonWriter{r: &run{left: maxWork}}
		w.quote(strings.ToValidUTF8(content, "?"))
		text, spans, err := tmpl.Render(request(`{"role":"user","content":` + w.b.String() + `},{"role":"assistant","content":"ok"}`))
		if err != nil && !errors.Is(err, ErrMask) {
			return
		}
		for _, s := range spans {
			if s[0] < 0 || s[0] > s[1] || s[1] > len(text) {
				t.Fatalf("span %v of %q", s, text)
			}
		}
	})
}

// FuzzRequest: any request is refused or renders.
func FuzzRequest(f *testing.F) {
	f.Add(request(`{"role":"user","content":"a"},{"role":"assistant","content":"b"}`))
	f.Add([]byte(`{"messages":[{"role":"assistant","content":[{"type":"text","text":"x"}],"tool_calls":[{"function":{"name":"f","arguments":{"a":1e5}}}]}],"tools":[{}]}`))
	tmpl := parseTestdata(f, "headers.jinja")
	f.Fuzz(func(t *testing.T, raw []byte) {
		text, spans, err := tmpl.Render(raw)
		if err == nil && len(spans) > 0 && spans[len(spans)-1][1] > len(text) {
			t.Fatalf("spans %v of %q", spans, text)
		}
	})
}

func BenchmarkRender(b *testing.B) {
	raw := request(`{"role":"system","content":"You are kind."},{"role":"user","content":"Explain our refund policy."},{"role":"assistant","content":"Gladly! We refund within 30 days."}`)
	for _, name := range []string{"chatml", "headers", "generation"} {
		tmpl := parseTestdata(b, name+".jinja")
		b.Run(name+"/text", func(b *testing.B) {
			for b.Loop() {
				if _, err := tmpl.Text(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/spans", func(b *testing.B) {
			for b.Loop() {
				if _, _, err := tmpl.Render(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
