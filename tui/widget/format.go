package widget

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes writes a size in binary units with three digits: "512 B", "3.42 GiB".
func Bytes(n int64) string {
	if n < 0 {
		return "-" + Bytes(-n)
	}
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, i := float64(n), 0
	for v >= 999.5 && i < len(byteUnits)-1 {
		v /= 1024
		i++
	}
	return digits3(v) + " " + byteUnits[i]
}

var byteUnits = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}

// Count writes a count with SI suffixes and three digits: "999", "12.3k",
// "1.50M".
func Count(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "-"
	case v < 0:
		return "-" + Count(-v)
	case v < 1000 && v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	i := 0
	for v >= 999.5 && i < len(siUnits)-1 {
		v /= 1000
		i++
	}
	return digits3(v) + siUnits[i]
}

var siUnits = []string{"", "k", "M", "G", "T", "P"}

// digits3 writes v < 1000 with three significant digits.
func digits3(v float64) string {
	switch {
	case v >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// Group writes an integer with thousands separated: "12,345".
func Group(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	var b strings.Builder
	b.WriteString(sign)
	for i, c := range []byte(s) {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// Number writes a metric with four significant digits: losses, rates,
// perplexities. Small and large values go to exponents, NaN and Inf are named.
func Number(v float64) string {
	a := math.Abs(v)
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	case a == 0:
		return "0"
	case a < 1e-3:
		return trimExponent(strconv.FormatFloat(v, 'e', 2, 64))
	case a < 10:
		return strconv.FormatFloat(v, 'f', 4, 64)
	case a < 100:
		return strconv.FormatFloat(v, 'f', 3, 64)
	case a < 1000:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a < 1e5:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return trimExponent(strconv.FormatFloat(v, 'e', 2, 64))
	}
}

// trimExponent turns 2.00e-04 into 2.00e-4.
func trimExponent(s string) string {
	m, e, ok := strings.Cut(s, "e")
	if !ok {
		return s
	}
	sign := ""
	if strings.HasPrefix(e, "-") {
		sign = "-"
	}
	e = strings.TrimLeft(strings.TrimLeft(e, "+-"), "0")
	if e == "" {
		return m
	}
	return m + "e" + sign + e
}

// Duration writes a time span with its two largest units: "42s", "3m12s",
// "1h04m", "2d03h". Below ten seconds tenths are shown.
func Duration(d time.Duration) string {
	if d < 0 {
		return "-"
	}
	s := int64(d.Round(time.Second) / time.Second)
	two := func(n int64) string { return strconv.FormatInt(100+n, 10)[1:] }
	switch {
	case d < 9950*time.Millisecond:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case s < 60:
		return strconv.FormatInt(s, 10) + "s"
	case s < 3600:
		return strconv.FormatInt(s/60, 10) + "m" + two(s%60) + "s"
	case s < 86400:
		return strconv.FormatInt(s/3600, 10) + "h" + two(s%3600/60) + "m"
	default:
		return strconv.FormatInt(s/86400, 10) + "d" + two(s%86400/3600) + "h"
	}
}
