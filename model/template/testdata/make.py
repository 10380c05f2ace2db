"""Renders the templates of this folder, and the snippets below, as transformers does.

Made with transformers 5.23.0 and jinja2 3.1.6; run in this folder as: python make.py
renders.json: for each template and conversation the text, or the error, and for templates with {% generation %} the
spans of the assistant in bytes. snippets.json: small templates with what they print, or the error.
"""
import glob
import json

from transformers.utils.chat_template_utils import _compile_jinja_template, render_jinja_template

TOOL = {"type": "function", "function": {"name": "get_weather", "description": "The \"weather\" – now", "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "n": {"type": "integer"}}, "required": ["city"]}}}
CONVERSATIONS = {
    "plain": {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there."}]},
    "prompt": {"messages": [{"role": "system", "content": " Be kind. "}, {"role": "user", "content": "Où est ma commande ?"}], "add_generation_prompt": True},
    "long": {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "one"}, {"role": "assistant", "content": " First \n"}, {"role": "user", "content": "two 😀"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nSecond é"}]},
    "same": {"messages": [{"role": "user", "content": "ok"}, {"role": "assistant", "content": "ok"}, {"role": "user", "content": "ok"}, {"role": "assistant", "content": "ok"}], "add_generation_prompt": True},
    "tools": {"messages": [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris", "n": 3, "x": 1e-7}}}]}, {"role": "tool", "content": "{\"t\": 20}"}, {"role": "assistant", "content": "20 °C"}], "tools": [TOOL]},
    "first": {"messages": [{"role": "assistant", "content": "I begin."}, {"role": "user", "content": "Then me."}]},
}

# Snippets see messages, tools=None and the data below.
DATA = {
    "d": {"b": 1, "a": [1, 2.0, "x", None, True], "items": "key", "n": {"é": "ü"}, "z": 1e-7, "big": 123456789012345678901234567890},
    "l": [3, 1, 2], "s": "  Hello, World!  ", "t": "a,b,,c", "e": [], "u": "naïve 😀 'quoted' \"both\" \\ \t", "f": 1.0, "g": 1e16, "h": 0.1,
    "people": [{"name": "Ann", "age": 30}, {"name": "bob", "age": 25}, {"name": "Cy", "age": 30, "tag": None}],
}
SNIPPETS = r"""
{{ d }}
{{ d.items() | list }} {{ d['items'] }} {{ d.items is callable }}
{{ d.keys() | list }} {{ d.values() | list | length }} {{ d.get('b') }} {{ d.get('q') }} {{ d.get('q', 'dflt') }}
{{ d | tojson }}
{{ d | tojson(indent=2) }}
{{ d | tojson(separators=(',', ':'), sort_keys=true) }}
{{ d | tojson(ensure_ascii=true) }} {{ "é😀\x7f\u0001</script>'" | tojson }} {{ [] | tojson(indent=1) }} {{ {} | tojson(indent=1) }}
{{ [none, true, false, 1, 1.5, 'x', "it's", 'say "hi"', "both ' and \""] }}
{{ (1, 2) }} {{ (1,) }} {{ () }} {{ {'a': (1, [2])} }} {{ {} }} {{ {1: 'x', 1.0: 'y', true: 'z', none: 0} }}
{{ u }} {{ [u] }} {{ ["\n\r\t\x00\x1b\xa0\u200b\U0001f600"] }}
{{ f }} {{ g }} {{ h + 0.2 }} {{ 1e-5 }} {{ 123456789.0 }} {{ 1e22 }} {{ -0.0 }} {{ 1/3 }} {{ 2e400 }}
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 4 / 2 }} {{ 10 ** 20 }}
{{ d.big + 1 }} {{ d.big * 2 }} {{ -d.big }} {{ 9223372036854775807 + 1 }} {{ 1_000 }} {{ 0x1f }} {{ 0b11 }} {{ 0o17 }}
{{ true + 1 }} {{ true == 1 }} {{ 1 == 1.0 }} {{ '1' == 1 }} {{ none == false }} {{ [1] == [1.0] }} {{ (1,) == [1] }} {{ {'a': 1} == {'a': 1.0} }}
{{ 'a' + 'b' }} {{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1] ~ missing }} {{ 'ab' * 3 }} {{ 3 * 'x' }} {{ [0] * 2 + [1] }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 2 > 1 == true }} {{ 1 != 2 }} {{ 3 >= 3 }} {{ 1 <= 0 }}
{{ 'b' in d }} {{ 'q' not in d }} {{ 2 in l }} {{ 'ell' in s }} {{ 'x' in missing }} {{ not 1 in l }} {{ 1 in (1, 2) }}
{{ 1 and 2 }} {{ 0 or 'x' }} {{ '' or none }} {{ not '' }} {{ 1 if 0 }}| {{ 'y' if l else 'n' }} {{ 'a' if false else 'b' if false else 'c' }}
{{ s.strip() }}|{{ s.lstrip() }}|{{ s.rstrip('! ') }}|{{ s | trim }}|{{ 'xxaxx'.strip('x') }}|{{ s.strip().lower().replace('l', 'L', 1) }}
{{ s.upper() }} {{ s.title() }} {{ 'hELLO wORLD'.capitalize() }} {{ "they're x2y".title() }} {{ 'ß'.upper() }} {{ 'aB'.swapcase() }}
{{ t.split(',') }} {{ t.split(',', 1) }} {{ ' a  b '.split() }} {{ 'a b c'.split(none, 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ t.rsplit(',', 1) }} {{ t.split(',')[-1] }}
{{ 'a\nb\r\nc'.splitlines() }} {{ 'k=v=w'.partition('=') }} {{ 'k=v=w'.rpartition('=') }} {{ 'x'.partition('=') }}
{{ t.startswith('a') }} {{ t.endswith(('x', 'c')) }} {{ t.find('b') }} {{ t.find('q') }} {{ 'naïve'.find('v') }} {{ t.count(',') }} {{ t.index('c') }}
{{ '-'.join(['a', 'b']) }} {{ 'abc'.isdigit() }} {{ '12'.isdigit() }} {{ 'ab'.isalpha() }} {{ 'a1'.isalnum() }} {{ 'AB'.isupper() }} {{ ' '.isspace() }}
{{ 'x'.ljust(3) }}|{{ 'x'.rjust(3, '.') }}|{{ 'x'.center(4, '*') }}|{{ 'xy'.center(5, '*') }}|{{ '-5'.zfill(4) }}|{{ 'prefix'.removeprefix('pre') }}
{{ '{} {1} {name}'.format('a', 'b', name='c') if false }}{{ '{} {}'.format('a', 1.5) }} {{ '{0}{0}'.format('z') }} {{ '{x:>5}|{y:.2f}|{{}}'.format(x='q', y=3.14159) }}
{{ '%s-%d-%.3f-%5s-%-5s|%05d%%' % ('a', 7, 1.5, 'r', 'l', 42) }} {{ '%s' % 'one' }} {{ '%(k)s' % {'k': 'v'} }} {{ '%r %x' % ('q', 255) }}
{{ l[0] }} {{ l[-1] }} {{ l[9] }}| {{ l[1:] }} {{ l[:-1] }} {{ l[::-1] }} {{ l[::2] }} {{ 'hello'[1:3] }} {{ 'hello'[::-1] }} {{ 'hello'[-1] }} {{ l[5:] }} {{ (1, 2, 3)[1:] }} {{ l[-100:100] }}
{{ messages[0].role }} {{ messages[0]['role'] }} {{ messages[-1].content[:2] }} {{ messages[0].missing }}| {{ messages[0]['missing'] is defined }}
{{ l | sort }} {{ l | sort(reverse=true) }} {{ ['b', 'A', 'c'] | sort }} {{ people | sort(attribute='age') | map(attribute='name') | list }} {{ l | max }} {{ l | min }} {{ l | sum }}
{{ people | map(attribute='name') | join(', ') }} {{ people | selectattr('age', 'equalto', 30) | map(attribute='name') | list }} {{ people | rejectattr('tag', 'defined') | list | length }}
{{ l | select('odd') | list }} {{ l | reject('>', 1) | list }} {{ ['a', '', none] | select | list }} {{ ['a', 'B'] | map('upper') | list }} {{ ['1', 'x'] | map('int', default=-1) | list }}
{{ people | groupby('age') | map('first') | list }} {{ [1, 1, 2] | unique | list }} {{ l | reverse | list }} {{ 'abc' | reverse }} {{ [1, 2, 3] | batch(2) | list }}
{{ l | first }} {{ l | last }} {{ e | first }}| {{ l | length }} {{ 'naïve' | length }} {{ d | length }} {{ missing | length }} {{ d | count }}
{{ missing | default('x') }} {{ none | default('x') }} {{ none | default('x', true) }} {{ '' | d('y', boolean=true) }} {{ missing.a | default('no') if false }}
{{ '3' | int }} {{ '3.7' | int }} {{ 'x' | int(5) }} {{ 3.9 | int }} {{ '1.5' | float }} {{ 'ff' | int(0, 16) }} {{ 2.5 | round }} {{ 3.14159 | round(2) }} {{ 2.1 | round(0, 'ceil') }} {{ -3 | abs }}
{{ d | dictsort }} {{ {'B': 1, 'a': 2} | dictsort }} {{ {'x': 2, 'y': 1} | dictsort(by='value') }} {{ d | items | list | length }}
{{ 'a\nb\n\nc' | indent }} | {{ 'a\nb' | indent(2, true) }} | {{ 'x y' | wordcount }} {{ 'hello world' | truncate(8) }} {{ 'a b/c?d' | urlencode }} {{ '<&>' | e }} {{ 5 | string + 'x' }}
{{ 1 is number }} {{ true is number }} {{ true is integer }} {{ 1.0 is float }} {{ 'x' is string }} {{ d is mapping }} {{ l is sequence }} {{ 'x' is sequence }} {{ d is sequence }} {{ 1 is iterable }} {{ l is iterable }}
{{ none is none }} {{ missing is none }} {{ missing is undefined }} {{ tools is none }} {{ tools is defined }} {{ documents is defined }} {{ true is true }} {{ 1 is true }} {{ 0 is false }} {{ false is boolean }}
{{ 4 is even }} {{ 3 is odd }} {{ 6 is divisibleby 3 }} {{ 6 is divisibleby(4) }} {{ 'a' is in 'abc' }} {{ 1 is eq 1 }} {{ 2 is gt 1 }} {{ 1 is not none }} {{ not 1 is none }} {{ 'ab' is lower }} {{ x is defined and x }}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for x in l %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}{% if loop.first %}F{% endif %}{{ loop.previtem }}>{{ loop.nextitem }} {% else %}none{% endfor %}{% for x in e %}{% else %}empty{% endfor %}
{% for x in range(5) if x % 2 %}{{ x }}{{ loop.cycle('a', 'b') }}{% endfor %} {% for i in range(3, 0, -1) %}{{ i }}{% endfor %} {{ range(2, 8, 3) | list }}
{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }} {% for i in l %}{% if y is defined %}leak{% endif %}{% set y = 1 %}{% endfor %}{{ y is defined }}
{% set ns = namespace(n=0, found=false) %}{% for i in l %}{% set ns.n = ns.n + i %}{% if i == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.n }} {{ ns.found }} {% set ns.new = [1] %}{{ ns.new }}
{% if false %}{% elif l %}{% set q = 'in if' %}{% endif %}{{ q }} {% set a, b = (1, 2) %}{{ a }}{{ b }} {% set c = 1, 2 %}{{ c }}
{% set body %}a{{ 1 + 1 }}b{% endset %}[{{ body }}] {% set loud | upper %}abc{% endset %}{{ loud }} {% filter upper %}x{{ 'y' }}{% endfilter %}
{% macro m(a, b='dflt', c=none) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, c=2) }} {{ m(b=3, a=4) }} {{ m('x') | upper }} {{ m(1) + '!' }}
{% macro outer(n) %}{{ n }}{% if n > 0 %}{{ outer(n - 1) }}{% endif %}{% endmacro %}{{ outer(3) }} {% macro late() %}{{ v }}{% endmacro %}{% set v = 'set after' %}{{ late() }}
{% macro wrap(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call wrap('b') %}in{{ 1 }}{% endcall %}
{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}
{% raw %}{{ not }} {% this %}{% endraw %} {# comment {{ x }} #}end
{{ dict(a=1) }} {{ dict({'x': 1}, y=2) }} {{ dict([('k', 'v')]) }} {{ namespace(a=1).a }}
{{ strftime_now('%Y') | length }} {{ 'a' 'b' "c" }} {{ "\u00e9\x41\101\n\q" }}
{{- 'left' }}   {{- ' x ' -}}   end
  {% if true %}
  indented
  {% endif %}
  {%+ if true %}kept{% endif %}  {%- if true -%}  tight  {%- endif -%}  !
{{ [1, 2] | join }} {{ [1, [2], none, 'x'] | join('-') }} {{ {'a': 1, 'b': 2} | join(',') }} {{ 'abc' | join('.') }} {{ ['x'] | string }} {{ 'abc' | list }} {{ d | list }}
{{ 'x' if missing else 'y' }} {{ missing ~ '' }}| {{ [missing] }} {{ missing == missing2 }} {{ missing or 'or' }} {{ (missing, 1)[1] }}
{{ ('a' ~ 'b') | upper ~ 'c' }} {{ 'a' ~ 'b' | upper }} {{ -1 | abs }} {{ 2 * 3 ~ 4 }} {{ 1 ~ 2 ~ 3 }} {{ not true or true }} {{ 1 + 1 == 2 and 3 > 2 }}
{{ d['a'][2] }} {{ d.a[1] }} {{ d.n.é if false }}{{ d.n['é'] }} {{ d.a.0 }} {{ people[0].name.upper()[0] }} {{ (l | sort)[0] }} {{ [[1, 2], [3]][0][1] }} {{ {'k': [1]}['k'][0] }}
{{ people | map(attribute='tag', default='-') | list }} {{ [{'a': {'b': 1}}] | map(attribute='a.b') | list }} {{ [[1, 2]] | map(attribute=0) | list }} {{ ['a'] | map('replace', 'a', 'b') | list }}
{{ raise_exception('told you: ' ~ 1) }}
{{ missing.attr }}
{{ messages[0].x.y }}
{{ 'a' + 1 }}
{{ 1 + 'a' }}
{{ missing + 'a' }}
{{ d.b.upper() }}
{{ none < 1 }}
{{ l.append(4) }}
{{ d.update({'x': 1}) }}
{{ undefined_function() }}
{{ 1 | nofilter }}
{{ 1 is notest }}
{% for %}
{% if x %}
{% endif %}
{{ 'unclosed }}
{{ 1 +  }}
{% bogus %}
{{ 1 / 0 }}
{{ l['x'].y }}
{{ missing | tojson }}
{% for x in 5 %}{% endfor %}
{{ range(1000000) | length }}
{{ ''.__class__ }}{{ ''.__class__.__mro__ }}
{% include 'x' %}
{% set ns = namespace() %}{% set ns._x = 1 %}
{% set d.x = 1 %}
{{ '%d' % 'x' }}
{{ '{}'.format() }}
{{ {'a': 1}['b']['c'] }}
""".strip("\n").split("\n")
# Those that need more than one line.
SNIPPETS += ["{% if true %}\nx\n{% endif %}\ny\n", "a\n  {% if true %}\n    b\n  {% endif %}\n  c\n\n", "a\n  {{ 'v' }}\n  {# c #}\nb\n", "x {% if true %} y {% endif %} z\n", "\n\n{{ 1 }}\n\n", "a\r\nb\r{{ 'c' }}\r\n",
             "{%- for m in messages -%}\n  {{ m.role }}\n{%- endfor %}\n|", "{% raw -%}\n  x {{ y }}\n{%- endraw %}\n|", "  {%- set x = 1 %}\n  {{ x }}", "a{# c -#}  \n b", "{{ {'a': {'b': 1}} }}", "{{ {'a': {'b': {}}}}}", "{% set x = {'k': '%}'} %}{{ x.k }}",
             "a {%- if true -%}\u00a0\u2003 b\x1c{{- 1 -}}\u3000c{#- x -#}\x85d{% endif %}", "{{+ 1 }} {{+1}}\n  {%+ if true +%}\nx{% endif +%}\ny{# c +#}\nz", "{%- raw %}\n a {{ b }}\n  {% endraw +%}\nc",
             "{{ '{:,} {:+d} {:e} {:08.3f} {:x} {:#x} {:b} {:>5} {:<5}| {:^5}| {:*^7} {:5} {:5}| {!r} {:.2} {:%} {:g}'.format(1234567, 5, 12345.678, 3.14159, 255, 255, 5, 'r', 'l', 'c', 'm', 42, 'x', 'q', 'abc', 0.25, 1e10) }}",
             "{{ '%e %g %g %G %i %o %X %+d % d %c %5.1f %-8s| %08.2f %s %s' % (1234.5, 0.0001, 1e20, 1e-10, 7, 8, 255, 3, 4, 'z', 2.25, 'ab', 3.14159, none, [1, 'a']) }}",
             "{{ 3.0 | string }} {{ 1e15 }} {{ 1e16 }} {{ 0.0001 }} {{ 0.00001 }} {{ 100.0 * 3 }} {{ 5 // 2.0 }} {{ -5 // 2 }} {{ 2 ** 0.5 }} {{ (-8) ** 2 }} {{ 7 / 7 }} {{ 1e308 * 10 }}",
             "{{ 2.5 | round | int }} {{ 3.5 | round }} {{ 2.675 | round(2) }} {{ 1234 | round(-2) }} {{ 1250 | round(-2) }} {{ -1350 | round(-2) }} {{ 7 | round }} {{ -2.5 | round }} {{ 2.5 | round(0, 'floor') }} {{ '12.9' | float | int }} {{ '1e3' | float }} {{ 'nan' | float }}",
             "{{ 'a-b_c d'.title() }} {{ 'éa'.capitalize() }} {{ 'ÀÉ'.lower() }} {{ 'naïve'.upper() }} {{ 'x'.join('abc') }} {{ ['b', 'a'] | sort | join }} {{ 'a,b'.split(',') | map('upper') | join('+') }}",
             "{{ messages | map(attribute='role') | unique | join }} {{ messages | selectattr('role', 'eq', 'user') | first }} {{ (messages | last).content }} {{ messages | rejectattr('role', 'in', ['user']) | list | count }}",
             "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}{% for k in {'x': 1} %}{{ k }}{% endfor %}{% for c in 'héy' %}[{{ c }}]{% endfor %}{% for x in missing %}{% else %}none{% endfor %}",
             "{% set x = 'outer' %}{% if true %}{% set x = 'inner' %}{% endif %}{{ x }}{% macro f() %}{% set x = 'm' %}{{ x }}{% endmacro %}{{ f() }}{{ x }}{% with %}{% set x = 'w' %}{% endwith %}{{ x }}",
             "{% for i in range(3) %}{% for j in range(2) %}{{ loop.index }}{{ i }}{{ j }} {% endfor %}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{% endfor %}",
             "{% generation %}a{% set q = 1 %}{% endgeneration %}{{ q is defined }}"]


def spans(text, indices):
    return [[len(text[:a].encode()), len(text[:b].encode())] for a, b in indices]


def attempt(f):
    try:
        return f()
    except Exception as e:
        return {"error": type(e).__name__ + ": " + str(e)}


renders = []
for path in sorted(glob.glob("*.jinja")):
    source = open(path).read()
    for name, c in CONVERSATIONS.items():
        def one():
            text, indices = render_jinja_template([c["messages"]], tools=c.get("tools"), chat_template=source, return_assistant_tokens_mask="{% generation %}" in source,
                                                  add_generation_prompt=c.get("add_generation_prompt", False), bos_token="<s>", eos_token="</s>")
            return {"text": text[0], **({"spans": spans(text[0], indices[0])} if indices else {})}
        renders.append({"template": path, "conversation": name, **attempt(one)})
with open("renders.json", "w") as f:
    json.dump({"conversations": CONVERSATIONS, "renders": renders}, f, ensure_ascii=False, indent=1)
    f.write("\n")

snippets = []
messages = CONVERSATIONS["plain"]["messages"]
for s in SNIPPETS:
    out = attempt(lambda: {"out": _compile_jinja_template(s).render(messages=messages, tools=None, documents=None, add_generation_prompt=False, **DATA)})
    snippets.append({"template": s, **out})
with open("snippets.json", "w") as f:
    json.dump({"request": {"messages": messages, **DATA}, "snippets": snippets}, f, ensure_ascii=False, indent=1)
    f.write("\n")
