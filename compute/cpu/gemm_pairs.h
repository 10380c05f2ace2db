// Pairs of bfloat16 numbers in 32-bit slots, for the tiers that multiply them; rounded to nearest even by the processor, which takes
// denormal floats for zeros.

#define LATHE_PAIRS 1

// v_pair packs lanes of two depths: low[l] below high[l] in slot l.
INLINE vec v_pair(vec low, vec high) {
    const __m512i l = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(low)), h = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(high));
    return _mm512_castsi512_ps(_mm512_or_si512(l, _mm512_slli_epi32(h, 16)));
}

// v_pairs packs 32 depths of one lane as they follow each other.
INLINE vec v_pairs(vec first, vec second) { return (vec)_mm512_cvtne2ps_pbh(second, first); }
