package computetest

import "testing"

// The suite's gradient of attention is checked by itself: a difference of 1e-8 is what differences can resolve.
func TestReference(t *testing.T) { VerifyReference(t) }
