package datasets

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func dedupe(t *testing.T, name, content string, o DedupeOptions) (string, Deduped) {
	t.Helper()
	f := open(t, write(t, name, content), Options{})
	out := filepath.Join(t.TempDir(), "out")
	result, err := Dedupe(context.Background(), f, out, o)
	if err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(written), result
}

func TestDedupeKeepsBytesAndOrder(t *testing.T) {
	content := strings.Join([]string{
		`{"prompt": "What is the capital of France?", "completion":"It is Paris.", "id": 1}` + "\r\n",
		`{"prompt":"2+2","completion":"4"}` + "\r\n",
		"\r\n",
		`{"id":2,"completion":"It is Paris\u002e","prompt":"What is the capital of France?"}` + "\n", // as the first, spelt otherwise
		`{broken` + "\n",
		`{"prompt":"what is THE capital of France??","completion":"It is Paris!"}` + "\n", // nearly the first
		`{"prompt":"2+2","completion":"5"}  ` + "\n",                                      // short texts must be equal
		`{"prompt":"Name a river of Italy that is longer than the Adige.","completion":"The Po."}`,
	}, "")
	got, result := dedupe(t, "a.jsonl", content, DedupeOptions{})
	want := `{"prompt": "What is the capital of France?", "completion":"It is Paris.", "id": 1}` + "\r\n" +
		`{"prompt":"2+2","completion":"4"}` + "\r\n" + `{broken` + "\n" + `{"prompt":"2+2","completion":"5"}  ` + "\n" +
		`{"prompt":"Name a river of Italy that is longer than the Adige.","completion":"The Po."}` + "\n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	unreadable := result.Unreadable
	result.Unreadable = nil
	if want := (Deduped{Rows: 7, Kept: 5, RemovedExact: 1, RemovedNear: 1}); !reflect.DeepEqual(result, want) {
		t.Errorf("got %+v, want %+v", result, want)
	}
	if len(unreadable) != 1 || unreadable[0].Line != 5 {
		t.Errorf("unreadable %+v, want line 5", unreadable)
	}
	if again, result := dedupe(t, "a.jsonl", got, DedupeOptions{}); again != got || result.RemovedExact+result.RemovedNear != 0 {
		t.Errorf("a second pass removed more: %+v", result)
	}
	if _, result := dedupe(t, "a.jsonl", content, DedupeOptions{ExactOnly: true}); result.RemovedNear != 0 || result.RemovedExact != 1 {
		t.Errorf("exact only: %+v", result)
	}
}

func TestDedupeOfAnArrayIsAnArray(t *testing.T) {
	got, _ := dedupe(t, "a.json", "[{\"text\": \"a\"},\n{\"text\":\"a\"} , {\n\"text\":\"b\"}]", DedupeOptions{})
	if want := "[\n{\"text\": \"a\"},\n{\n\"text\":\"b\"}\n]\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestMinHashFindsSimilarTexts draws pairs of texts of known similarity and
// compares how many are found with 1 - (1 - s^8)^14.
func TestMinHashFindsSimilarTexts(t *testing.T) {
	const pairs, shingles = 400, 60
	var m minHasher
	for _, common := range []int{30, 45, 54} { // of 60 shingles
		found, similarity := 0, float64(common)/float64(2*shingles-common)
		for pair := range pairs {
			// Two windows of one text in which no word comes twice.
			a, b := phrase(pair, 0, shingles+shingleWords-1), phrase(pair, shingles-common, 2*shingles-common+shingleWords-1)
			sa, _ := m.sign(a)
			sb, _ := m.sign(b)
			for bucket := range sa {
				if sa[bucket] == sb[bucket] {
					found++
					break
				}
			}
		}
		want := 1 - math.Pow(1-math.Pow(similarity, bucketHashes), hashBuckets)
		// Four standard deviations of a binomial, and a pair for the rare ends.
		tolerance := 4*math.Sqrt(want*(1-want)/pairs) + 1.0/pairs
		if got := float64(found) / pairs; math.Abs(got-want) > tolerance {
			t.Errorf("similarity %.3f: %.3f of the pairs were found, want %.3f ± %.3f", similarity, got, want, tolerance)
		}
	}
}

// phrase is words from to to of an endless text of different words.
func phrase(seed, from, to int) string {
	letters := func(n int) string {
		var b strings.Builder
		for ; n > 0; n /= 26 {
			b.WriteByte(byte('a' + n%26))
		}
		return b.String()
	}
	var words []string
	for i := from; i < to; i++ {
		words = append(words, "x"+letters(seed*1000+i+1))
	}
	return strings.Join(words, " ")
}

func TestMinHashNormalises(t *testing.T) {
	var m minHasher
	m.split([]string{"Hello, World! 42 times", "co-op 東京 e\u0301"})
	var got []string
	for _, w := range m.words {
		got = append(got, string(w))
	}
	if want := "hello world 0 times co op 東 京 e\u0301"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", strings.Join(got, " "), want)
	}
	if _, ok := m.sign("four words are few"); ok {
		t.Error("a text of four words has a signature")
	}
}

func TestMultiplyAdd(t *testing.T) {
	r := newRandom(3, 0)
	prime := new(big.Int).SetUint64(mersennePrime)
	for range 1000 {
		a, x, b := r.below(mersennePrime), r.below(mersennePrime), r.below(mersennePrime)
		want := new(big.Int).Mul(new(big.Int).SetUint64(a), new(big.Int).SetUint64(x))
		want.Add(want, new(big.Int).SetUint64(b)).Mod(want, prime)
		if got := multiplyAdd(a, x, b); got != want.Uint64() {
			t.Fatalf("%d·%d+%d is %d, want %d", a, x, b, got, want)
		}
	}
}

func TestDedupeManyRows(t *testing.T) {
	var content strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&content, "{\"text\":%q}\n", phrase(i%2000, 0, 20))
	}
	_, result := dedupe(t, "a.jsonl", content.String(), DedupeOptions{Workers: 3})
	if result.Kept != 2000 || result.RemovedExact != 1000 || result.RemovedNear != 0 {
		t.Errorf("%+v", result)
	}
}
