package datasets

// refusals begin answers of models that were asked to be careful.
var refusals = []string{
	"as an ai", "as a language model", "as a large language model", "i'm sorry, but", "i am sorry, but", "i’m sorry, but",
	"i cannot assist", "i can't assist", "i cannot fulfill", "i can't fulfill", "i cannot help with", "i can't help with",
	"i'm an ai", "i am an ai", "my knowledge cutoff",
}

// refusalWindow is the length of the shortest refusal; all are found by looking at windows of their first bytes.
const refusalWindow = 8

// refusalSkips says how far the window can move on by its last two bytes, without their case: to the next place where the two
// could stand in a refusal (Wu and Manber 1994, the skip table).
var refusalSkips = func() (skips [1 << 16]uint8) {
	for i := range skips {
		skips[i] = refusalWindow - 1
	}
	for _, refusal := range refusals {
		for end := 2; end <= refusalWindow; end++ {
			skip := &skips[withoutCase(refusal[end-2], refusal[end-1])]
			*skip = min(*skip, uint8(refusalWindow-end))
		}
	}
	return skips
}()

// withoutCase makes one number of two bytes, the same for upper and lower case (and for a few signs that no refusal has).
func withoutCase(first, second byte) uint16 { return (uint16(first)<<8 | uint16(second)) | 0x2020 }

// refusalAt looks at the words of the first two hundred bytes.
func refusalAt(inner []byte) (start, end int) {
	for i := 0; i < 200 && i+refusalWindow <= len(inner); {
		if skip := refusalSkips[withoutCase(inner[i+refusalWindow-2], inner[i+refusalWindow-1])]; skip > 0 {
			i += int(skip)
			continue
		}
		if i == 0 || !isAlphanumeric(inner[i-1]) || escaped(inner, i-1) {
			for _, refusal := range refusals {
				if hasFold(inner[i:], refusal) {
					return i, i + len(refusal)
				}
			}
		}
		i++
	}
	return -1, -1
}

// hasFold reports whether text begins with the lower-case word, in any case of
// ASCII letters.
func hasFold(text []byte, word string) bool {
	if len(text) < len(word) {
		return false
	}
	for i := range len(word) {
		c := text[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}
