#include "textflag.h"

// A byte is looked up by its two halves: the answers of the low and of the high half, ANDed, have a bit where both halves fit. The
// tables are one byte for each half's value. Those of numbers answer in bits that VPMOVMSKB reads after a shift: 0x80 a digit,
// 0x40 a blank, bracket, dash or dot, 0x20 a capital (or one of the six signs beside them).

// stopping:  0x01 <0x20    0x02 "    0x04 : <    0x08 [ \    0x10 @    0x20 DEL    0x40 C2 C3 F2 F3    0x80 E2 EF
DATA stopLow<>+0(SB)/8, $0x0101010141C30111 // halves 7 to 0
DATA stopLow<>+8(SB)/8, $0xA101010D09050101 // halves f to 8
GLOBL stopLow<>(SB), RODATA, $16
DATA stopHigh<>+0(SB)/8, $0x2000081004020101
DATA stopHigh<>+8(SB)/8, $0x4080004000000000
GLOBL stopHigh<>(SB), RODATA, $16
DATA numberLow<>+0(SB)/8, $0xA0A0A0A0A0A0A0E0
DATA numberLow<>+8(SB)/8, $0x206060202020E0E0
GLOBL numberLow<>(SB), RODATA, $16
DATA numberHigh<>+0(SB)/8, $0x0000202080400000
DATA numberHigh<>+8(SB)/8, $0x0000000000000000
GLOBL numberHigh<>(SB), RODATA, $16
DATA halves<>+0(SB)/8, $0x0F0F0F0F0F0F0F0F
DATA halves<>+8(SB)/8, $0x0F0F0F0F0F0F0F0F
GLOBL halves<>(SB), RODATA, $16

// LOOK32 looks 32 bytes of Y6 up: 1 where no rule stops in plain, a bit a byte, and the bits of digits, separators and capitals.
#define LOOK32(plain, digits, separators, capitals) \
	VPAND     Y4, Y6, Y8       \ // low halves
	VPSRLW    $4, Y6, Y9       \
	VPAND     Y4, Y9, Y9       \ // high halves
	VPSHUFB   Y8, Y0, Y10      \
	VPSHUFB   Y9, Y1, Y11      \
	VPAND     Y10, Y11, Y10    \
	VPCMPEQB  Y5, Y10, Y10     \
	VPMOVMSKB Y10, plain       \
	VPSHUFB   Y8, Y2, Y10      \
	VPSHUFB   Y9, Y3, Y11      \
	VPAND     Y10, Y11, Y10    \
	VPMOVMSKB Y10, digits      \
	VPSLLW    $1, Y10, Y11     \
	VPMOVMSKB Y11, separators  \
	VPSLLW    $2, Y10, Y11     \
	VPMOVMSKB Y11, capitals

// func stopsAVX2(stops *uint64, text *byte, blocks int) (above uint64)
TEXT ·stopsAVX2(SB), NOSPLIT, $0-32
	MOVQ           stops+0(FP), DI
	MOVQ           text+8(FP), SI
	MOVQ           blocks+16(FP), CX
	VBROADCASTI128 stopLow<>(SB), Y0
	VBROADCASTI128 stopHigh<>(SB), Y1
	VBROADCASTI128 numberLow<>(SB), Y2
	VBROADCASTI128 numberHigh<>(SB), Y3
	VBROADCASTI128 halves<>(SB), Y4
	VPXOR          Y5, Y5, Y5
	VPXOR          Y7, Y7, Y7                // all bytes ORed

block:
	VMOVDQU (SI), Y6
	VPOR    Y6, Y7, Y7
	LOOK32(R8, R9, R10, R11)
	VMOVDQU 32(SI), Y6
	VPOR    Y6, Y7, Y7
	LOOK32(AX, BX, R12, R13)
	SHLQ    $32, AX
	ORQ     AX, R8
	NOTQ    R8                               // R8: stops that are no numbers
	SHLQ    $32, BX
	ORQ     BX, R9                           // R9: digits
	SHLQ    $32, R12
	ORQ     R12, R10
	ORQ     R9, R10                          // R10: bytes of numbers
	SHLQ    $32, R13
	ORQ     R13, R11                         // R11: capitals
	LEAQ    1(R10)(R10*1), R10               // the byte before is a number's
	LEAQ    1(R10)(R10*1), R12
	ANDQ    R12, R10                         // the two before are
	LEAQ    3(R10*4), R12
	ANDQ    R12, R10                         // four
	LEAQ    3(R10*4), R12
	ANDQ    R12, R10                         // six
	LEAQ    1(R11)(R11*1), R12
	LEAQ    3(R11*4), R13
	ANDQ    R13, R12                         // two capitals before
	ORQ     R12, R10
	ANDQ    R10, R9
	ORQ     R9, R8
	MOVQ    R8, (DI)
	ADDQ    $64, SI
	ADDQ    $8, DI
	DECQ    CX
	JNZ     block

	VPMOVMSKB Y7, AX
	MOVQ      AX, above+24(FP)
	VZEROUPPER
	RET
