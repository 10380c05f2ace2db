package tokenizer

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-json-experiment/json"
)

const sharedTokenizers = "../../../shared/data/tokenizers"

// TestSharedCases runs the encodings of GPT-2 and Phi-3 that lie beside the repository.
func TestSharedCases(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(sharedTokenizers, "cases.json"))
	if err != nil {
		t.Skipf("skipped: the shared tokenizers are not beside this checkout (%v)", err)
	}
	var cases map[string][]struct {
		Text string  `json:"text"`
		IDs  []int32 `json:"ids"`
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	for name, list := range cases {
		data, err := os.ReadFile(filepath.Join(sharedTokenizers, name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		tk, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			if got := tk.Encode(c.Text, true); !slices.Equal(got, c.IDs) {
				t.Errorf("%s: %q\n got %v\nwant %v", name, c.Text, got, c.IDs)
			}
		}
		t.Logf("%s: %d cases", name, len(list))
	}
}
