package template

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// maxWidth bounds the width and the precision of a format.
const maxWidth = 10_000

// spec is a format specification, of % or of str.format: [[fill]align][sign][#][0][width][,][.precision][type].
type spec struct {
	fill      rune
	align     byte // '<', '>', '^', '=' or 0
	sign      byte // '+', ' ' or 0
	alternate bool
	grouping  byte // ',' or '_' or 0
	width     int
	precision int // -1 when not given
	verb      byte
}

// percentFormat is text % values.
func percentFormat(r *run, format string, values val) (val, error) {
	var b strings.Builder
	args := []val{values}
	if l, ok := asList(values); ok && l.tuple {
		args = l.items
	}
	named, isDict := asDict(values)
	next := 0
	for i := 0; i < len(format); {
		j := strings.IndexByte(format[i:], '%')
		if j < 0 {
			b.WriteString(format[i:])
			break
		}
		b.WriteString(format[i : i+j])
		i += j + 1
		if i < len(format) && format[i] == '%' {
			b.WriteByte('%')
			i++
			continue
		}
		var v val
		if i < len(format) && format[i] == '(' {
			end := strings.IndexByte(format[i:], ')')
			if end < 0 || !isDict {
				return val{}, errors.New("format requires a mapping")
			}
			var ok bool
			if v, ok = named.getText(format[i+1 : i+end]); !ok {
				return val{}, fmt.Errorf("format has no value for %q", format[i+1:i+end])
			}
			i += end + 1
		} else {
			if next >= len(args) {
				return val{}, errors.New("not enough arguments for format string")
			}
			v = args[next]
			next++
		}
		s, n, err := parsePercent(format[i:])
		if err != nil {
			return val{}, err
		}
		i += n
		out, err := s.format(v)
		if err != nil {
			return val{}, err
		}
		if err := r.spend(len(out)); err != nil {
			return val{}, err
		}
		b.WriteString(out)
	}
	if next < len(args) && !isDict {
		return val{}, errors.New("not all arguments converted during string formatting")
	}
	return value.FromString(b.String()), r.spend(b.Len())
}

// parsePercent reads what follows a % and says how long it is.
func parsePercent(f string) (spec, int, error) {
	s := spec{fill: ' ', align: '>', precision: -1}
	i := 0
	for ; i < len(f) && strings.IndexByte("-+ #0", f[i]) >= 0; i++ {
		switch f[i] {
		case '-':
			s.align = '<'
		case '+', ' ':
			s.sign = f[i]
		case '#':
			s.alternate = true
		case '0':
			if s.align != '<' {
				s.fill, s.align = '0', '='
			}
		}
	}
	i += s.digits(f[i:], &s.width)
	if i < len(f) && f[i] == '.' {
		s.precision = 0
		i++
		i += s.digits(f[i:], &s.precision)
	}
	if i == len(f) || strings.IndexByte("sdrifFeEgGxXoca", f[i]) < 0 {
		return s, 0, errors.New("unsupported format character")
	}
	s.verb = f[i]
	if s.width > maxWidth || s.precision > maxWidth {
		return s, 0, errors.New("format is too wide")
	}
	return s, i + 1, nil
}

// digits reads a number and gives how long it is.
func (s *spec) digits(f string, into *int) int {
	n := 0
	for n < len(f) && f[n] >= '0' && f[n] <= '9' {
		*into = min(*into*10+int(f[n]-'0'), maxWidth+1)
		n++
	}
	return n
}

// formatMethod is str.format.
func formatMethod(r *run, self val, args []val, kw map[string]val) (val, error) {
	format, _ := self.AsString()
	var b strings.Builder
	next := 0
	for i := 0; i < len(format); {
		c := format[i]
		if (c == '{' || c == '}') && i+1 < len(format) && format[i+1] == c {
			b.WriteByte(c)
			i += 2
			continue
		}
		if c == '}' {
			return val{}, errors.New("single '}' encountered in format string")
		}
		if c != '{' {
			b.WriteByte(c)
			i++
			continue
		}
		end := strings.IndexByte(format[i:], '}')
		if end < 0 {
			return val{}, errors.New("expected '}' before end of string")
		}
		out, err := formatField(format[i+1:i+end], args, kw, &next)
		if err != nil {
			return val{}, err
		}
		if err := r.spend(len(out) + 1); err != nil {
			return val{}, err
		}
		b.WriteString(out)
		i += end + 1
	}
	return value.FromString(b.String()), r.spend(b.Len())
}

// formatField is the inside of one pair of braces: [name][!r][:spec].
func formatField(field string, args []val, kw map[string]val, next *int) (string, error) {
	field, specText, _ := strings.Cut(field, ":")
	name, conversion, _ := strings.Cut(field, "!")
	if strings.ContainsAny(specText, "{") || strings.ContainsAny(name, ".[") {
		return "", fmt.Errorf("format field %q is not supported", field)
	}
	var v val
	if name == "" {
		name = strconv.Itoa(*next)
		*next++
	}
	if n, err := strconv.Atoi(name); err == nil {
		if n < 0 || n >= len(args) {
			return "", errors.New("replacement index out of range for positional args")
		}
		v = args[n]
	} else {
		var ok bool
		if v, ok = kw[name]; !ok {
			return "", fmt.Errorf("format has no value for %q", name)
		}
	}
	switch conversion {
	case "r":
		v = value.FromString(repr(v))
	case "s":
		v = value.FromString(str(v))
	}
	s, err := parseSpec(specText)
	if err != nil {
		return "", err
	}
	return s.format(v)
}

func parseSpec(f string) (spec, error) {
	s := spec{fill: ' ', precision: -1}
	if r, n := utf8.DecodeRuneInString(f); n > 0 && len(f) > n && strings.IndexByte("<>^=", f[n]) >= 0 {
		s.fill, s.align = r, f[n]
		f = f[n+1:]
	} else if f != "" && strings.IndexByte("<>^=", f[0]) >= 0 {
		s.align = f[0]
		f = f[1:]
	}
	if f != "" && strings.IndexByte("+- ", f[0]) >= 0 {
		if f[0] != '-' {
			s.sign = f[0]
		}
		f = f[1:]
	}
	if strings.HasPrefix(f, "#") {
		s.alternate, f = true, f[1:]
	}
	if strings.HasPrefix(f, "0") && s.align == 0 {
		s.fill, s.align = '0', '='
	}
	f = f[s.digits(f, &s.width):]
	if f != "" && (f[0] == ',' || f[0] == '_') {
		s.grouping, f = f[0], f[1:]
	}
	if strings.HasPrefix(f, ".") {
		s.precision, f = 0, f[1:]
		f = f[s.digits(f, &s.precision):]
	}
	if f != "" {
		s.verb, f = f[0], f[1:]
	}
	if f != "" || s.verb != 0 && strings.IndexByte("sdfFeEgGxXobcn%", s.verb) < 0 || s.width > maxWidth || s.precision > maxWidth {
		return s, errors.New("invalid format specifier")
	}
	return s, nil
}

// format writes one value.
func (s spec) format(v val) (string, error) {
	switch s.verb {
	case 'r', 'a':
		return s.pad("", s.clip(repr(v)), '<'), nil
	case 's':
		return s.pad("", s.clip(str(v)), '<'), nil
	case 'c':
		if n, ok := asInt(v); ok && n >= 0 && n <= utf8.MaxRune {
			return s.pad("", string(rune(n)), '<'), nil
		}
		return s.pad("", str(v), '<'), nil
	case 'd', 'i', 'x', 'X', 'o', 'b', 'n':
		return s.integer(v)
	case 'f', 'F', 'e', 'E', 'g', 'G', '%':
		return s.float(v)
	}
	if _, ok := asBig(v); ok && v.Kind() == value.KindNumber {
		return s.integer(v)
	}
	if _, ok := v.Raw().(float64); ok && s.precision >= 0 {
		s.verb = 'g'
		return s.float(v)
	}
	if isNumber(v) && v.Kind() == value.KindNumber {
		sign, body := s.splitSign(str(v))
		return s.pad(sign, body, '>'), nil
	}
	return s.pad("", s.clip(str(v)), '<'), nil
}

func (s spec) clip(t string) string {
	if s.precision < 0 {
		return t
	}
	r := []rune(t)
	return string(r[:min(s.precision, len(r))])
}

func (s spec) splitSign(t string) (sign, body string) {
	if strings.HasPrefix(t, "-") {
		return "-", t[1:]
	}
	if s.sign != 0 {
		return string(s.sign), t
	}
	return "", t
}

func (s spec) integer(v val) (string, error) {
	n, ok := asBig(v)
	if !ok {
		f, isFloat := asFloat(v)
		if !isFloat {
			return "", fmt.Errorf("a number is required, not %s", typeName(v))
		}
		n, _ = big.NewFloat(f).Int(nil)
	}
	base, prefix := 10, ""
	switch s.verb {
	case 'x', 'X':
		base, prefix = 16, "0"+string(s.verb)
	case 'o':
		base, prefix = 8, "0o"
	case 'b':
		base, prefix = 2, "0b"
	}
	sign, body := s.splitSign(n.Text(base))
	if s.verb == 'X' {
		body = strings.ToUpper(body)
	}
	body = s.group(body)
	if s.alternate {
		sign += prefix
	}
	return s.pad(sign, body, '>'), nil
}

func (s spec) float(v val) (string, error) {
	f, ok := asFloat(v)
	if !ok {
		return "", fmt.Errorf("must be real number, not %s", typeName(v))
	}
	precision, verb, suffix := s.precision, s.verb, ""
	if precision < 0 {
		precision = 6
	}
	switch verb {
	case 'F':
		verb = 'f'
	case '%':
		verb, suffix, f = 'f', "%", f*100
	case 'g', 'G':
		precision = max(precision, 1)
	}
	sign, body := s.splitSign(strconv.FormatFloat(f, verb, precision, 64))
	if verb == 'g' || verb == 'G' { // strconv keeps trailing zeros out as C does, and pads exponents to two digits
		body = strings.TrimSuffix(body, ".")
	}
	whole, frac, hasFrac := strings.Cut(body, ".")
	body = s.group(whole)
	if hasFrac {
		body += "." + frac
	}
	return s.pad(sign, body+suffix, '>'), nil
}

// group puts the separator between groups of three digits.
func (s spec) group(digits string) string {
	if s.grouping == 0 {
		return digits
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + string(s.grouping) + digits[i:]
	}
	return digits
}

// pad brings sign and body to the width.
func (s spec) pad(sign, body string, align byte) string {
	n := s.width - utf8.RuneCountInString(sign) - utf8.RuneCountInString(body)
	if s.align != 0 {
		align = s.align
	}
	fill := s.fill
	if fill == 0 {
		fill = ' '
	}
	if n <= 0 {
		return sign + body
	}
	space := func(k int) string { return strings.Repeat(string(fill), k) }
	switch align {
	case '<':
		return sign + body + space(n)
	case '^':
		return space(n/2) + sign + body + space(n-n/2)
	case '=':
		return sign + space(n) + body
	}
	return space(n) + sign + body
}
