package datasets

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
)

// span is a range of a text that a rule names.
type span struct {
	code       string
	start, end int
}

// personal is what is personal in a text, by code.
var personal = map[string]struct{ what, placeholder string }{
	CodePIIEmail: {"an e-mail address", "[EMAIL]"},
	CodePIIPhone: {"a telephone number", "[PHONE]"},
	CodePIISSN:   {"a social security number", "[SSN]"},
	CodePIICard:  {"a payment card number", "[CARD]"},
	CodePIIIBAN:  {"a bank account number", "[IBAN]"},
	CodePIIIP:    {"an IP address", "[IP]"},
}

// personalAt asks the detectors that byte i stands for, and returns where the
// walk goes on.
func personalAt(text []byte, i int, c class, decoded bool) (found span, ok bool, next int) {
	switch c {
	case digit:
		return numberAt(text, i, decoded)
	case at:
		found, ok = emailAt(text, i, decoded)
	case colon:
		found, ok = ipv6At(text, i, decoded)
	}
	return found, ok, max(found.end, i+1)
}

// The detectors look at a text around the byte that made the walk stop. In raw
// JSON text a letter after a backslash is part of an escape, not of a word.

// wordBefore reports whether a letter or digit stands right before i.
func wordBefore(text []byte, i int, decoded bool) bool {
	return i > 0 && isAlphanumeric(text[i-1]) && (decoded || !escaped(text, i-1))
}

func wordAt(text []byte, i int) bool { return i < len(text) && isAlphanumeric(text[i]) }

// emailAt returns the e-mail address around the @ at i.
func emailAt(text []byte, i int, decoded bool) (span, bool) {
	start, end := i, i+1
	for start > 0 && isLocal(text[start-1]) && (decoded || !escaped(text, start-1)) {
		start--
	}
	for start < i && (text[start] == '.' || text[start] == '-') {
		start++
	}
	for end < len(text) && (isAlphanumeric(text[end]) || text[end] == '.' || text[end] == '-') {
		end++
	}
	for end > i+1 && !isAlphanumeric(text[end-1]) {
		end--
	}
	domain := text[i+1 : end]
	dot := bytes.LastIndexByte(domain, '.')
	if start == i || dot < 1 || len(domain)-dot-1 < 2 || bytes.ContainsAny(domain[dot+1:], "0123456789") {
		return span{}, false
	}
	return span{CodePIIEmail, start, end}, true
}

// isLocal are the bytes of an address before its @.
func isLocal(c byte) bool {
	return isAlphanumeric(c) || c == '.' || c == '_' || c == '%' || c == '+' || c == '-'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c)
}

func isCapital(c byte) bool { return c >= 'A' && c <= 'Z' }

// maxNumber is how many bytes of digits and separators are looked at.
const maxNumber = 48

// numberDetectors are asked in this order: the more a number has to be, the
// earlier; each when there are enough digits and dots for it.
var numberDetectors = [...]struct {
	digits, dots int
	at           func(text []byte, i, end int, decoded bool) (span, bool)
}{{13, 0, cardAt}, {9, 0, ssnAt}, {4, 3, ipv4At}, {8, 0, phoneAt}}

// numberBytes are what numbers are written with.
var numberBytes = func() (t [256]bool) {
	for _, c := range []byte("0123456789 -.()") {
		t[c] = true
	}
	return t
}()

// numberEnd gives the end of the digits and separators from the digit at i on, and how many digits and dots they are.
func numberEnd(text []byte, i int) (end, digits, dots int) {
	last := i
	for end = i; end < len(text) && end-i < maxNumber && numberBytes[text[end]]; end++ {
		if isDigit(text[end]) {
			digits++
			last = end
		} else if text[end] == '.' {
			dots++
		}
	}
	return last + 1, digits, dots
}

// isPersonal says whether a number of so many digits and dots can be one that a detector knows.
func isPersonal(digits, dots int) bool { return digits >= 8 || digits >= 4 && dots >= 3 }

// numberAt looks at the number that begins with the digit at i. It returns what
// the number is, if anything, and where the walk goes on.
func numberAt(text []byte, i int, decoded bool) (found span, ok bool, next int) {
	end, digits, dots := numberEnd(text, i)
	next = i + 1
	for next < end && isDigit(text[next]) {
		next++
	}
	if found, ok := ibanBefore(text, i, decoded); ok {
		return found, true, found.end
	}
	if !isPersonal(digits, dots) {
		return span{}, false, end
	}
	for _, d := range numberDetectors {
		if digits < d.digits || dots < d.dots {
			continue
		}
		if found, ok := d.at(text, i, end, decoded); ok {
			return found, true, max(found.end, next)
		}
	}
	return span{}, false, next
}

// cardLengths are how many digits a card has by its first one (Mastercard 2 and
// 5; American Express, Diners and JCB 3; Visa 4; Discover, UnionPay and Maestro 6).
var cardLengths = map[byte][]int{
	'2': {16}, '3': {14, 15, 16}, '4': {13, 16, 19}, '5': {16}, '6': {16, 17, 18, 19},
}

// cardAt finds a payment card number: a known first digit and length, in one
// piece or in the groups that cards print, and Luhn's sum (ISO/IEC 7812-1).
func cardAt(text []byte, i, end int, decoded bool) (span, bool) {
	if wordBefore(text, i, decoded) {
		return span{}, false
	}
	digits, groups, last := grouped(text[i:end])
	if !slices.Contains(cardLengths[text[i]], len(digits)) || wordAt(text, i+last) || !luhn(digits) {
		return span{}, false
	}
	for g, n := range groups {
		fours := n == 4 || g == len(groups)-1 && n < 4
		amex := len(groups) == 3 && groups[1] == 6 && (g == 0 && n == 4 || g == 1 || n == 4 || n == 5)
		if len(groups) > 1 && !fours && !amex {
			return span{}, false
		}
	}
	return span{CodePIICard, i, i + last}, true
}

// grouped collects digits as long as they are parted by single spaces or single
// dashes, with the sizes of their groups and where they end.
func grouped(text []byte) (digits []byte, groups []int, end int) {
	groups = []int{0}
	var separator byte
	for i := 0; i < len(text); i++ {
		c := text[i]
		if isDigit(c) {
			digits, end = append(digits, c), i+1
			groups[len(groups)-1]++
			continue
		}
		if c != ' ' && c != '-' || separator != 0 && c != separator || i+1 == len(text) || !isDigit(text[i+1]) {
			break
		}
		separator = c
		groups = append(groups, 0)
	}
	return digits, groups, end
}

func luhn(digits []byte) bool {
	sum := 0
	for i := range digits {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// ssnAt finds a United States social security number: 123-45-6789, without the
// areas, groups and serials that are never issued.
func ssnAt(text []byte, i, _ int, decoded bool) (span, bool) {
	const shape = "ddd-dd-dddd"
	if wordBefore(text, i, decoded) || i > 0 && text[i-1] == '-' || len(text)-i < len(shape) {
		return span{}, false
	}
	s := text[i : i+len(shape)]
	for j := range len(shape) {
		if shape[j] == 'd' != isDigit(s[j]) || shape[j] == '-' && s[j] != s[3] || shape[j] == '-' && s[j] != '-' && s[j] != ' ' {
			return span{}, false
		}
	}
	area, group, serial := string(s[:3]), string(s[4:6]), string(s[7:])
	after := i + len(shape)
	if area == "000" || area == "666" || area[0] == '9' || group == "00" || serial == "0000" ||
		wordAt(text, after) || after+1 < len(text) && text[after] == '-' && isDigit(text[after+1]) {
		return span{}, false
	}
	return span{CodePIISSN, i, after}, true
}

// ipv4At finds an IPv4 address of a host: not the loopback, the unspecified or
// the broadcast address.
func ipv4At(text []byte, i, _ int, decoded bool) (span, bool) {
	if wordBefore(text, i, decoded) || i > 0 && text[i-1] == '.' {
		return span{}, false
	}
	end := i
	for end < len(text) && end-i < 16 && (isDigit(text[end]) || text[end] == '.') {
		end++
	}
	end = i + len(bytes.TrimRight(text[i:end], "."))
	address, err := netip.ParseAddr(string(text[i:end]))
	if err != nil || wordAt(text, end) || address.IsLoopback() || address.IsUnspecified() || address.As4() == [4]byte{255, 255, 255, 255} {
		return span{}, false
	}
	return span{CodePIIIP, i, end}, true
}

// ipv6At finds the IPv6 address around the colon at i, with at least three
// groups or seven colons, so that times and C++ names are none.
func ipv6At(text []byte, i int, decoded bool) (span, bool) {
	isHex := func(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
	if i+1 == len(text) || text[i+1] != ':' && !isHex(text[i+1]) {
		return span{}, false // a colon between words, nearly always
	}
	start, end := i, i+1
	for start > 0 && i-start < 45 && (isHex(text[start-1]) || text[start-1] == ':') && (decoded || !escaped(text, start-1)) {
		start--
	}
	for end < len(text) && end-i < 45 && (isHex(text[end]) || text[end] == ':' || text[end] == '.') {
		end++
	}
	for end > i+1 && (text[end-1] == '.' || text[end-1] == ':' && text[end-2] != ':') {
		end--
	}
	address, err := netip.ParseAddr(string(text[start:end]))
	groups := bytes.FieldsFunc(text[start:end], func(r rune) bool { return r == ':' })
	if err != nil || len(groups) < 3 || wordBefore(text, start, decoded) || wordAt(text, end) || address.IsLoopback() {
		return span{}, false
	}
	return span{CodePIIIP, start, end}, true
}

// phoneAt finds a telephone number by its writing: +49 30 901820, (555) 123-4567,
// 555-123-4567, 555.123.4567. Ten digits without any sign of a telephone are a
// number like others.
func phoneAt(text []byte, i, end int, decoded bool) (span, bool) {
	start, international, area := i, false, false
	if start > 0 && text[start-1] == '(' {
		start, area = start-1, true
	}
	if start > 0 && text[start-1] == '+' && !area {
		start, international = start-1, true
	}
	if wordBefore(text, start, decoded) || start > 0 && strings.IndexByte(".-+*/=<>$€£", text[start-1]) >= 0 {
		return span{}, false
	}
	digits, groups, last := phoneGroups(text, i, end)
	if wordAt(text, last) {
		return span{}, false
	}
	switch {
	case international && len(digits) >= 8 && len(digits) <= 15 && digits[0] != '0':
	case area && len(groups) == 3 && groups[0] == 3 && groups[1] == 3 && groups[2] == 4 && text[i+3] == ')':
	case len(groups) == 3 && groups[0] == 3 && groups[1] == 3 && groups[2] == 4 && digits[0] >= '2' && text[i+3] == text[i+7] && text[i+3] != ' ':
	case len(groups) == 4 && groups[0] == 1 && digits[0] == '1' && groups[1] == 3 && groups[2] == 3 && groups[3] == 4 && text[i+1] == '-':
	default:
		return span{}, false
	}
	return span{CodePIIPhone, start, last}, true
}

// phoneGroups reads groups of digits that are parted by at most two separators.
func phoneGroups(text []byte, i, end int) (digits []byte, groups []int, last int) {
	gap := 2 // so that the first digit begins a group
	for ; i < end; i++ {
		if !isDigit(text[i]) {
			if gap++; gap > 2 {
				break
			}
			continue
		}
		if gap > 0 {
			groups = append(groups, 0)
		}
		gap = 0
		groups[len(groups)-1]++
		digits, last = append(digits, text[i]), i+1
	}
	return digits, groups, last
}

// ibanLengths are the lengths of the countries' account numbers (ISO 13616).
var ibanLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28, "CH": 21,
	"CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27,
	"GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
	"IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27,
	"MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25,
	"QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23,
	"TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}

// ibanBefore finds the international bank account number whose check digits are
// at i, after the letters of a country: its length and its sum modulo 97.
func ibanBefore(text []byte, i int, decoded bool) (span, bool) {
	start := i - 2
	if start < 0 || !isCapital(text[start]) || !isCapital(text[start+1]) || wordBefore(text, start, decoded) {
		return span{}, false
	}
	want := ibanLengths[string(text[start:i])]
	if want == 0 {
		return span{}, false
	}
	var account []byte
	end := start
	for ; end < len(text) && len(account) < want; end++ {
		c := text[end]
		switch {
		case isDigit(c) || isCapital(c):
			account = append(account, c)
		case c != ' ' || end > 0 && text[end-1] == ' ':
			return span{}, false
		}
	}
	if len(account) < want || wordAt(text, end) || mod97(append(account[4:len(account):len(account)], account[:4]...)) != 1 {
		return span{}, false
	}
	return span{CodePIIIBAN, start, end}, true
}

// mod97 is ISO 7064's remainder with letters as 10 to 35.
func mod97(account []byte) int {
	remainder := 0
	for _, c := range account {
		if isDigit(c) {
			remainder = (remainder*10 + int(c-'0')) % 97
		} else {
			remainder = (remainder*100 + int(c-'A') + 10) % 97
		}
	}
	return remainder
}
