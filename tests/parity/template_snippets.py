"""Small templates, one construct each, for the comparison with jinja2 and as seeds of the fuzzer."""

VARS = {
    "messages": [
        {"role": "system", "content": "Sys"},
        {"role": "user", "content": "Hi <b>é😀", "n": 1},
        {"role": "assistant", "content": [{"type": "text", "text": "x"}], "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1.5, "b": None}}}]},
    ],
    "s": " a b,c ", "t": "Tëst ßİΣ x.y", "e": "", "n": 7, "m": -3, "f": 2.5, "g": 1e22, "tr": True, "no": None,
    "l": [3, 1, 2], "ll": [[1, 2], [3, 4]], "w": ["b", "A", "c", "a"], "d": {"k": 1, "a": [1, 2], "items": 9, "z": {"y": "q"}},
    "users": [{"name": "Bo", "age": 3, "on": True}, {"name": "al", "age": 2, "on": False}, {"name": "Cy", "age": 3}],
    "lines": "one\ntwo\r\n\nthree ", "tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3, "c": []}]}, {"v": 4, "c": []}],
    "big": 123456789012345678901234567890, "html": "<p>a & \"b\"</p>",
}

EXPRESSIONS = r"""
1 + 2 * 3 - 4 / 2
7 // 2, -7 // 2, 7 % 3, -7 % 3, 7 % -3, 2 ** 10, 2 ** -1, -2 ** 2
7.5 // 2, -7.5 % 2, 1e3, 1.5e-7, 1_000, 0x1F, 0o17, 0b101, 1e16, 123456789.123, 1e22, 5e-324, 0.1 + 0.2
1 == 1.0, true == 1, 'a' < 'b', [1, 2] < [1, 3], (1, 2) == (1, 2), none == none, {} == {}
1 < 2 < 3, 1 < 3 < 2, 1 in [1], 'a' in 'abc', 'k' in d, 'q' not in d, 5 in l, 1 in (1, 2)
not true, not e, not no, tr and n, e or 'x', n and m or f, not n == 7
n if tr else m, n if no, (n if no) is defined, 'a' if e else 'b' if n else 'c'
s ~ n ~ no ~ f ~ tr ~ l ~ d, 'a' ~ 1 ~ 2.0, 'x' 'y' "z"
[1, 'a', none, true, 1.0, [2], (3,), {'a': 1}], (), (1,), {}, {1: 2, 'a': none}
d.k, d['k'], d.items is callable, d['items'], d.nope, d.nope is defined, d.z.y, d['z']['y'], d.get('k'), d.get('q', 5), d.get('q')
l[0], l[-1], l[5], l[1:], l[:-1], l[::-1], l[::2], s[1], s[-2], s[2:5], t[::-1], t[0:4], t[5], s[100:], t[-3:]
messages[0].role, messages[-1]['content'][0].text, messages[1:], messages[0]['nope'], messages[1].content[3:]
'a' * 3, [1] * 2, 3 * 'ab', 'a' + 'b', [1] + [2], (1,) + (2,), '-' * 0, '-' * -1
'%s-%d-%5.2f-%x-%r-%%' % ('a', 5, 3.14159, 255, 'q'), '%05d|%-5s|%+d' % (42, 'ab', 7), '%(k)s' % d, '%s' % n, '%c%c' % (65, 'b')
'%e %g %G %o %X' % (12345.678, 0.00001, 1e20, 8, 255), '%.3s|%5s|%5.1f' % ('abcdef', 'x', 2.25), '%i' % 3.9
'{} {}'.format(1, 'a'), '{0}{1}{0}'.format('a', 'b'), '{x.k} {x[k]}'.format(x=d), '{:>5}|{:<5}|{:^5}|{:05d}'.format('a', 'b', 'c', 42), '{!r:>6}'.format('a')
'{:,} {:_} {:x} {:#x} {:b} {:e} {:.2f} {:.1%} {:+}'.format(1234567, 1234567, 255, 255, 5, 1234.5, 3.14159, 0.256, 3), '{{}}'.format(), '{:{}}|'.format('a', 4), '{:*^7}'.format('x')
s.strip(), s.lstrip(), s.rstrip(), s.strip(' ac'), s.split(), s.split(','), s.split(' '), s.split(' ', 1), s.rsplit(' ', 1), s.upper(), s.title()
t.lower(), t.upper(), t.title(), t.swapcase(), t.capitalize(), t.casefold(), 'ΑΣ'.lower(), 'ﬁx'.upper(), 'ǆ'.title()
lines.splitlines(), lines.splitlines(true), 'a-b-c'.partition('-'), 'a-b-c'.rpartition('-'), 'abc'.partition('x'), '-'.join(w), ''.join(['a', 'b'])
s.replace(' ', '_'), s.replace('a', ''), s.replace(' ', '.', 1), 'abc'.replace('', '-'), 'aaa'.replace('aa', 'b'), 'abc'.find('c'), 'abc'.rfind('z'), 'abcabc'.index('b', 2), 'abab'.count('ab'), 'abc'.count('')
'abc'.startswith('ab'), 'abc'.startswith(('x', 'a')), 'abc'.endswith('c'), 'abc'.startswith('b', 1), 'abc'.removeprefix('a'), 'abc'.removesuffix('c'), 'ab'.center(6), 'ab'.ljust(5, '.'), 'ab'.rjust(5), '-42'.zfill(6), 'a\tb'.expandtabs(4)
'abc'.isalpha(), '12'.isdigit(), 'a1'.isalnum(), ' '.isspace(), 'Ab'.istitle(), 'AB'.isupper(), 'ab'.islower(), ''.isalpha(), '½'.isnumeric(), '²'.isdigit(), '²'.isdecimal(), 'a_b'.isidentifier(), 'é'.isascii()
d.keys() | list, d.values() | list, d.items() | list, d | items | list, d | length, d.copy(), d.keys(), d.items(), {'a': 1}.items() | first
'x' % range(3), range(3)[::2], range(9)[1:8:3], range(3)[:-1].count(1), range(1, 9, 2).index(5), range(3)[::-1], range(3).start is defined
lines | wordwrap(3), s | wordwrap(2), 'the quick-witted brown-fox jumps -- over well-known a-b-c lazy---dogs' | wordwrap(9), 'abcdefghij klm' | wordwrap(4, false), 'aa-bb-cc-ddd eee' | wordwrap(5, wrapstring='|'), 'x--y zz--ww' | wordwrap(4, break_on_hyphens=false)
t | wordwrap(4), 'a  b\n\n  c   d ' | wordwrap(3), '    indented text here' | wordwrap(6), 'ab-cdefgh-ij' | wordwrap(4), '----------' | wordwrap(4), 'é-ü naïve-ly' | wordwrap(5), '' | wordwrap, 'x' | wordwrap(1), "don't--stop e-mail 3-4 x-1y" | wordwrap(6), 'abc   def' | wordwrap(3)
'a b' | wordwrap(0)
5 | wordwrap
range(3) | list, range(1, 7, 2) | list, range(5, 0, -2) | list, range(3), range(3)[1], range(10)[2:5], range(3) | length, 2 in range(3), dict(a=1, b=2), dict([('x', 1)]), dict({'q': 1}, r=2)
l | sort, l | sort(reverse=true), w | sort, w | sort(case_sensitive=true), users | sort(attribute='age,name') | map(attribute='name') | list, l | min, l | max, w | min, w | max(case_sensitive=true), l | sum, users | sum('age'), users | sum(attribute='age', start=10)
users | map(attribute='name') | join(', '), users | map(attribute='nope', default='?') | list, w | map('upper') | join, l | map('string') | list, ['1', 'x'] | map('int', 9) | list, ll | map('sum') | list, users | map(attribute='name') | map('lower') | sort | join
users | selectattr('on') | map(attribute='name') | list, users | selectattr('age', 'eq', 3) | list | length, users | rejectattr('on', 'defined') | map(attribute='name') | list, l | select('odd') | list, l | reject('gt', 1) | list, ['', 'a'] | select | list, users | selectattr('age', 'in', [2]) | first
users | groupby('age') | list, users | groupby('age') | map('first') | list, users | groupby('on', default='?') | length, d | dictsort, {'b': 1, 'A': 2} | dictsort, {'b': 1, 'A': 2} | dictsort(true), {'b': 1, 'a': 2} | dictsort(by='value', reverse=true)
w | unique | list, [1, 1.0, true, 2] | unique | list, range(7) | batch(3) | list, range(7) | batch(3, 'x') | list, range(7) | slice(3) | list, range(7) | slice(3, 'x') | list, l | reverse | list, s | reverse, l | first, l | last, [] | first, [] | last is defined
n | string | length, s | trim, s | trim(' a'), s | upper, s | capitalize, t | title, 'a-b c(d' | title, s | replace('a', 'x'), 'aaa' | replace('a', 'b', 2), s | length, l | count, l | join, l | join('-'), users | join('|', attribute='name'), s | list, 'x' | center(9), 'a b  c' | wordcount
'42' | int, '4.9' | int, 'x' | int, 'x' | int(5), '0x1f' | int(base=16), '0b11' | int(0, 2), 4.9 | int, no | int, '1.5' | float, 'x' | float, true | int, -4 | abs, f | round, 2.675 | round(2), 1234.5 | round(-2), 2.1 | round(0, 'ceil'), 2.19 | round(1, 'floor'), 5 | round, 0.5 | round, 1.5 | round
x | default('d'), e | default('d'), e | default('d', true), no | default('d'), no | d('q', boolean=true), d.q | default({}) | length, x is defined, n is defined, x is undefined
n is odd, n is even, n is divisibleby 7, n is divisibleby(2), n is number, n is integer, f is float, f is number, s is string, l is sequence, l is iterable, l is mapping, d is mapping, s is sequence, tr is boolean, tr is true, tr is integer, no is none, n is eq 7, n is gt(3), n is in [7], 'a' is lower, 'A' is upper, n is not none, n is sameas 7, range is callable, 'upper' is filter, 'odd' is test, s is escaped, n is ne 3, 3 is lessthan 4
html | e, html | escape | e, html | forceescape, html | safe, html | safe | e, ('<' | safe) + '<', '<' + ('<' | safe), ('%s' | safe) % '<', html | striptags, (html | safe).replace('<', '{'), (html | e) ~ '<', '<' | e | upper, [html | e], ('<a>' | safe).join(['<', '>'])
'a b&c/d' | urlencode, {'a b': 'c&d', 'x': 1} | urlencode, [('a', 1)] | urlencode, {'class': 'x', 'id': none, 'q': '<'} | xmlattr, 1000 | filesizeformat, 1 | filesizeformat, 123456789 | filesizeformat, 2048 | filesizeformat(true), 5 | pprint, 'a' | pprint
lines | indent, lines | indent(2, true), lines | indent('> ', blank=true), lines | indent(width=1, first=true), '' | indent, 'foo bar baz qux' | truncate(9), 'foo bar baz qux' | truncate(9, true), 'foo bar baz' | truncate(5, true, '..', 0), 'short' | truncate, '%s %s' | format('a', 1), '%(a)s' | format(a=2)
d | tojson, l | tojson, s | tojson, t | tojson, no | tojson, tr | tojson, f | tojson, g | tojson, big | tojson, [1.0, 0.1, 1e-7, -0.0, 1e100] | tojson, {'a': [], 'b': {}} | tojson(indent=2), d | tojson(indent=4), d | tojson(separators=(',', ':')), {'b': 1, 'a': 2} | tojson(sort_keys=true), t | tojson(ensure_ascii=true), '"\\\n\t\x01\x7f' | tojson, {1: 2, none: 3, true: 4, 1.5: 5} | tojson, [(1, 2)] | tojson(indent=1), d | tojson(indent='--')
big, big + 0.5, big == big, big > n, -big if no else 1, big | string, [big], 9223372036854775807
'\n\t\\\'\"\x41\u00e9\U0001f600\101\q\a', "a\
b", '\e'
messages | map(attribute='role') | list, messages[2].tool_calls[0].function.arguments.a, messages[2].tool_calls[0].function.arguments | items | list, messages[1].n, messages[0].n is defined
loop is defined, caller is defined, self is defined, varargs is defined, namespace is defined
namespace(a=1).a, namespace(a=1), namespace({'b': 2}).b, namespace().x is defined, cycler('a', 'b').next(), joiner('|')() ~ 'x', strftime_now('%d %b %Y %H:%M:%S %j %A %B %p %I %y %%') , strftime_now('%-d/%-m %U %W %w %u %e')
d.__class__, d.__class__ is defined, s.__len__ is defined, d['__class__'] is defined, l.append is defined, d.update is defined, d._x is defined
l.index(1), l.count(3), (1, 2).index(2), l.copy(), 5 .real, (5).bit_length(), 2.0.is_integer(), 2.5.is_integer(), tr.real
(1, 2) | list, 'a,b'.split(',') | map('trim') | list, ' x ' | trim ~ '.', -n, +m, - -n, not not n, n | abs * 2, -1 | abs, (-1) | abs
1 if 2 if 3 else 4 else 5, [1, 2,], (1, 2,), {'a': 1,}, l[1 if tr else 0], d['k' if tr else 'a'], 'a' in ['a'] and 'b' not in ['a']
x.y, 1
x + 1
x()
x | upper ~ '|', x | list, x | length, x | join, x == y, x | string
no.a, 1
no.a.b
no[0] is defined
no + 1
no()
1 + 'a'
'a' + 1
[] + 1
'a' * 'b'
l['x'] is defined, l['x']
d['nope'].x
1 / 0
1 // 0
1.0 % 0
'a' < 1
none < 1
l[1:'a']
l[::0]
'x' in 5
5 in 'x'
{[]: 1}
{} | first
5 | length
5 | list
5 | join
5 | sort
['a', 1] | sort
[none, 1] | max
'a' | abs
'%d' % 'a'
'%s %s' % 'a'
'%s' % (1, 2)
'%y' % 1
'{}'.format()
'{x}'.format()
'{0} {}'.format(1)
'{'.format()
'{:d}'.format('a')
'a'.nope()
'a'.split('')
'a'.join([1])
'abc'.index('z')
'a'.center()
'a'.upper(1)
l.append(1)
d.update({})
d.pop('k')
l | map | list
l | map('nope') | list
l | select('nope') | list
l | map(attribute='x', q=1) | list
users | selectattr | list
d | dictsort(by='x')
1 | round(0, 'x')
1 | default(1, 2, 3)
1 | default(q=1)
range('a')
range(1, 2, 0)
range(1000000)
dict(1)
namespace(_a=1)
raise_exception('Oh no: ' ~ n)
cycler()
d | tojson(q=1)
range | tojson
(l | map('string')) | tojson
x | tojson
x | e, x | int, x | float
s | truncate(1)
'\x4'
'unterminated
1 +
(1
[1, 2
{1: }
1 2
a.
a[
a[]
a..b
a is
a is not
a is defined is string
a | 
a | 5
f(a=1, 2)
f(**d, *l)
f(*l, *l)
1 ! 2
1 & 2
a = 1
$x
}
"""

STATEMENTS = [
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ x }};{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% for x in [] %}a{% else %}none{% endfor %}{% for x in l %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}|{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% else %}E{% endfor %}",
    "{% for x in l %}{% break %}{% else %}E{% endfor %}{% for x in l %}{% continue %}{% else %}F{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for a, b in ll %}{{ a }}{{ b }}{% endfor %}{% for c in 'né' %}[{{ c }}]{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ loop.nextitem }}|{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }}{% endfor %}",
    "{% for n in tree recursive %}{{ loop.depth }}{{ loop.depth0 }}{{ n.v }}{% if n.c %}[{{ loop(n.c) }}]{% endif %}{% endfor %}",
    "{% for n in tree if n.v recursive %}{{ n.v }}{{ loop(n.c) }}{% else %}-{% endfor %}",
    "{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}{{ x }}{{ loop }}",
    "{% for x in l %}{{ loop }}{% endfor %}{% for x in 5 %}{% endfor %}",
    "{% for x in no %}{% endfor %}", "{% for a, b in l %}{% endfor %}", "{% for a, b in [[1, 2, 3]] %}{% endfor %}", "{% for a, b in ['x'] %}{% endfor %}",
    "{% for loop in l %}{% endfor %}", "{% for x in l %}{{ loop.nope }}{% endfor %}", "{% for x in l %}{{ loop(1) }}{% endfor %}",
    "{% set x = 1 %}{{ x }}{% set x, y = 2, 3 %}{{ x }}{{ y }}{% set x = [x, y] %}{{ x }}{% set (a, (b, c)) = (1, (2, 3)) %}{{ a }}{{ b }}{{ c }}",
    "{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(x=1) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{% set ns.y = 'q' %}{{ ns.y }}{{ ns }}",
    "{% if tr %}{% set x = 5 %}{% endif %}{{ x }}{% if no %}{% set y = 5 %}{% endif %}{{ y }}{{ y is defined }}",
    "{% if e %}a{% elif n %}b{% else %}c{% endif %}{% if no %}a{% elif no %}b{% else %}c{% endif %}{% if x is defined and x %}y{% endif %}",
    "{% set n.x = 1 %}", "{% set x.y = 1 %}", "{% set a, b = l %}", "{% set a, b = 5 %}", "{% set 1 = 2 %}", "{% set none = 2 %}", "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% set x %}a{{ n }}b{% endset %}[{{ x }}]{% set y | upper | trim %} q {{ x }} {% endset %}[{{ y }}]",
    "{% filter upper %}a{{ n }}b{% endfilter %}{% filter replace('a', 'x') | trim %} banana {% endfilter %}",
    "{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=4) }}{{ m(b=5, a=6) }}{{ m() }}{{ m }}{{ m.name }}{{ m.arguments }}",
    "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}",
    "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}in{{ n }}{% endcall %}", "{% macro m() %}[{{ caller('q', 2) }}]{% endmacro %}{% call(a, b=1) m() %}{{ a }}{{ b }}{% endcall %}",
    "{% macro m(n) %}{{ n }}{% if n > 0 %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(3) }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}",
    "{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% set x = 1 %}{{ m() }}", "{% macro m() %}{{ n }}{% set n = 5 %}{{ n }}{% endmacro %}{{ m() }}{{ n }}", "{% macro m(a, b=a) %}{{ b }}{% endmacro %}{{ m(7) }}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}", "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", "{% macro m(caller) %}{{ caller() }}{% endmacro %}", "{% macro m(a, a) %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}",
    "{% for x in l %}{% macro m() %}{{ x }}{{ loop.index }}{% endmacro %}{{ m() }}{% endfor %}", "{% with a = 1, b = n %}{{ a }}{{ b }}{% set a = 9 %}{{ a }}{% endwith %}{{ a }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}",
    "{% raw %}{{ x }}{% y %}{# z #}{% endraw %}", "a{# comment #}b{#- strip -#}  c", "{%- if tr -%}  a  {%- endif -%}  b", "  {% if tr %}\n  x\n  {% endif %}\n  y\n", "  {%+ if tr %}\n x\n {%+ endif %}\n", "{{- ' a ' -}}  b  {{ 'c' }}\n{{ 'd' }}\n\n",
    "a\r\nb\rc\n{{ n }}\r\n", "\n\n{{ n }}\n\n", "{% raw -%}  a  {%- endraw %}", "{#\n a\n#}\nb", "{% if tr %}a{% endif %}\n{% if tr %}b{% endif %}\n", "{% set x = 1 -%}\n\n  y", "x  {#- c #}  y", "\t{% set a = 1 %}\t\nz",
    "{% block a %}A{{ n }}{% endblock %}{{ self.a() }}", "{% set q = 1 %}{% block a %}{{ q }}{% endblock %}", "{% block a %}{% endblock %}{% block a %}{% endblock %}", "{% print n, m %}{% print 'x' %}",
    "{% generation %}a{{ n }}{% set z = 1 %}{% endgeneration %}{{ z }}", "{% autoescape true %}{{ html }}{{ html | safe }}{{ '<' ~ html }}{% endautoescape %}{{ html }}",
    "{% if tr %}{{ 1 | nope }}{% endif %}", "{{ 1 | nope }}", "{% if no %}{{ 1 | nope }}{% endif %}ok", "{{ 1 is nope }}", "{% if no %}{% if x is nope %}{% endif %}{% endif %}ok", "{% for x in l %}{% if no %}{{ x | nope }}{% endif %}{% endfor %}",
    "{% nope %}", "{% if x %}", "{% endif %}", "{% for x in l %}{% endif %}", "{% if %}{% endif %}", "{% for x l %}{% endfor %}", "{{ }}", "{{", "{%", "{#", "{% raw %}", "{{ 1 }", "{% set %}", "{% set x = %}", "{% break %}", "{% macro %}", "{% call x %}{% endcall %}", "{% filter %}{% endfilter %}", "{{ a b }}", "{% else %}", "{% for x in l %}{% else %}{% else %}{% endfor %}", "{% do x %}", "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{% from 'x' import y %}",
    "line1\n{{ n\n + \n no }}", "a\n{% if n +\n 1 > no %}{% endif %}", "\n\n{% set x = l\n[0]\n.foo.bar %}", "{{ n }}\n{{ n |\n upper |\n nope }}", "{% for x in l %}\n{{ x }}\n{% if x == 1 %}\n{{ x.y.z }}\n{% endif %}{% endfor %}",
    "{% macro m() %}\n{{ raise_exception('x') }}\n{% endmacro %}\n\n{{ m() }}", "{% set x %}\n\n{{ no.y.z }}{% endset %}", "{{ messages[0].content\n.nope\n.really }}", "{% if n %}\n{% elif x %}\n{% else %}{{ no.x.y }}\n{% endif %}\n{{ no.x.y }}",
    "{% for i in range(3) %}{% set x = i %}{% endfor %}{{ x }}{% set x = 7 %}{{ x }}", "{% for m in messages %}{{ m.role }}{% if m.tool_calls %}{% for c in m.tool_calls %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}{% endif %}{% endfor %}",
    "{% set a = {} %}{% set b = dict(a, x=1) %}{{ a }}{{ b }}", "{% for k in d %}{{ k }}{% endfor %}{% for k, v in d | dictsort %}{{ k }}{% endfor %}", "{{ '{{' }}{{ '}}' }}{{ '%}' }}", "{{ {'a': {'b': 1}}.a.b }}{{ {'a':1}['a'] }}", "{{ [1,2][1] }}{{ (1,2)[0] }}{{ 'abc'[1] }}",
    "{% set g = l | map('string') %}{{ g | first }}{{ g | list }}{{ g | list }}{% if g %}T{% endif %}", "{% set g = [] | select %}{{ g is iterable }}{{ g is sequence }}{% if g %}T{% endif %}", "{% for g in users | groupby('age') %}{{ g.grouper }}{{ g.list | length }}{% endfor %}{% for a, b in users | groupby('age') %}{{ a }}{% endfor %}",
]


def snippets():
    for line in EXPRESSIONS.strip().split("\n"):
        yield "{{ (" + line + ") }}" if ", " in line and "\n" not in line and not line.startswith(("{", "f(", "[1, 2", "x.y")) else "{{ " + line + " }}"
    yield from STATEMENTS
