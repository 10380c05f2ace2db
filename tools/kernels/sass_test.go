package main

import (
	"maps"
	"testing"
)

const sassText = `.text.gemm:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/                   LDSM.16.M88.4 R4, [R2] ;
.L_x_1:
        /*0020*/               @P0 LDGSTS.E.BYPASS.LTC128B.128 [R3], [R4.64] ;
.L_x_2:
        /*0030*/                   HMMA.16816.F32.BF16 R4, R4, R8, R4 ;
        /*0040*/                   HMMA.16816.F32.BF16 R4, R4, R8, R4 ;
        /*0050*/                   LDSM.16.MT88.4 R4, [R2] ;
        /*0060*/              @!P1 BRA ` + "`(.L_x_2)" + ` ;
        /*0070*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0080*/               @P0 BRA ` + "`(.L_x_1)" + ` ;
        /*0090*/                   STG.E.128 [R2.64], R4 ;
.text.add:
        /*0000*/                   FFMA R1, R2, R3, R4 ;
`

// The loop is the inner one; a kernel that does not multiply is left out.
func TestReadSASS(t *testing.T) {
	got := readSASS(sassText)
	if len(got) != 1 {
		t.Fatalf("%v", got)
	}
	all := map[string]int{"LDSM": 2, "LDGSTS": 1, "HMMA": 2, "BAR": 1, "STG.128": 1, "instructions": 10}
	inner := map[string]int{"HMMA": 2, "LDSM": 1, "instructions": 4}
	if c := got["gemm"]; !maps.Equal(c.All, all) || !maps.Equal(c.Loop, inner) {
		t.Errorf("%+v", c)
	}
	if !multiplies("x", []byte("\tmma.sync.aligned")) || multiplies("norm", []byte("fma.rn.f32")) {
		t.Error("which modules multiply")
	}
}
