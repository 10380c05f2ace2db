package parity

import (
	"testing"

	"lathe/internal/reftest"
)

// peerResults is testdata/peer/results.json: what tools/peercheck measured when PEFT and transformers read what lathe wrote.
type peerResults struct {
	Date    string
	Results []struct {
		Base, Kind, Name string // the model's folder; adapter or merged; the run's or adapter's name
		Difference       float64
	}
}

const peerFile = "../../testdata/peer/results.json"

func readPeer(t testing.TB) (p peerResults) {
	if exists(peerFile) {
		reftest.ReadJSON(t, peerFile, &p)
	}
	return p
}

// figure is the largest difference of a log-probability that peercheck found.
func (p peerResults) figure(kind string, m method) figure {
	for _, r := range p.Results {
		if r.Base == m.base && r.Kind == kind && (r.Name == m.run || r.Name == m.adapter) {
			return figure{value: r.Difference}
		}
	}
	return explained("tools/peercheck has not been run over it")
}

func (p peerResults) where() string {
	if p.Date == "" {
		return ""
	}
	return " on " + p.Date
}
