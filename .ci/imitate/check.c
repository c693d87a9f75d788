/* Holds every function that avx512.h imitates to what Intel's manual says of the instruction (volume 2, and for
 * VSCALEFPS the table of special cases there), written out here number by number. Prints what differs.
 *
 *     cc -O1 -mavx2 -mfma -include avx512.h check.c -lm                   the imitation
 *     cc -O1 -mavx512f -mavx512bw -mavx512vnni check.c -lm                the instructions, where there are any
 */
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define NEAREST (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define ROUNDS 4096

/* A vector, and what is in it. */
union lanes {
    __m512 floats;
    __m512i ints;
    float f[16];
    int32_t i[16];
    uint32_t u[16];
    int16_t s[32];
    uint16_t us[32];
    int8_t b[64];
    uint8_t ub[64];
};

static const uint32_t special[] = {
    0x00000000, 0x80000000, /* zeros */
    0x00000001, 0x80000001, 0x007fffff, 0x807fffff, 0x00400000, /* denormals */
    0x00800000, 0x80800000, 0x3f800000, 0xbf800000, 0x3f000000, 0xbf000000, 0x3fc00000, 0xbfc00000,
    0x40200000, 0xc0200000, 0x3f7fffff, 0xbf7fffff, 0x3effffff, 0x3f800001, 0x33800000,
    0x42fe0000, 0xc2fe0000, 0x43000000, 0xc3000000, 0x43150000, 0xc3150000, 0x43160000, 0xc3160000, /* +-127 .. 150 */
    0x438a8000, 0xc38a8000, 0x438b0000, 0xc38b0000, 0x43c80000, 0xc3c80000, /* +-277, 278, 400 */
    0x4b000000, 0x4b000001, 0xcb000001, 0x4effffff, 0x4f000000, 0xcf000000, 0xcf000001, /* near 2^23 and 2^31 */
    0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, /* the largest; infinities */
    0x7fc00000, 0xffc00000, 0x7fc12345, 0x7f812345, 0xff800001, /* quiet NaNs, and signalling ones */
    0x00ff00ff, 0xff00ff00, 0x80808080, 0x7f7f7f7f, 0x80008000, 0xffffffff,
};
enum { SPECIAL = sizeof special / sizeof special[0] };

static uint32_t next_random(void)
{
    static uint64_t state = 0x123456789abcdef1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

/* Special numbers, numbers of all sizes, and some near one. */
static uint32_t draw(void)
{
    const uint32_t kind = next_random() % 4, bits = next_random();
    if (kind == 0)
        return special[bits % SPECIAL];
    if (kind == 1)
        return bits;
    if (kind == 2)
        return (bits & 0x807fffff) | (0x3b800000 + (next_random() % 20 << 23));
    return (bits & 0x80ffffff) | 0x43000000;
}

static int failures;

static int is_nan(float x) { return x != x; }

/* `floats`: of NaNs of a sum or a product it is enough that they are NaNs. */
static void compare(const char *name, int lane, uint32_t found, uint32_t expected, int floats, uint32_t a, uint32_t b)
{
    float x, y;
    memcpy(&x, &found, 4);
    memcpy(&y, &expected, 4);
    if (found == expected || (floats && is_nan(x) && is_nan(y)))
        return;
    if (failures++ < 20)
        printf("%s, lane %d: %08x, not %08x, of %08x and %08x\n", name, lane, found, expected, a, b);
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

static uint32_t scalef(uint32_t a, uint32_t b)
{
    const uint32_t quiet = 0x00400000, infinity = 0x7f800000;
    const int a_nan = (a & 0x7fffffff) > infinity, b_nan = (b & 0x7fffffff) > infinity;
    float x, y;
    memcpy(&x, &a, 4);
    memcpy(&y, &b, 4);
    if (a_nan && (a & quiet) && b == infinity)
        return infinity;
    if (a_nan && (a & quiet) && b == (infinity | 0x80000000))
        return 0;
    if (a_nan)
        return a | quiet;
    if (b_nan)
        return b | quiet;
    if (b == infinity)
        return x == 0 ? 0xffc00000 : (a & 0x80000000) | infinity;
    if (b == (infinity | 0x80000000))
        return (a & 0x7fffffff) == infinity ? 0xffc00000 : a & 0x80000000;
    y = floorf(y);
    return bits_of(ldexpf(x, y > 1000 ? 1000 : y < -1000 ? -1000 : (int)y));
}

static int saturated(int x) { return x > 32767 ? 32767 : x < -32768 ? -32768 : x; }

static int32_t nearest_int(float x)
{
    const double whole = nearbyint((double)x);
    return whole >= -2147483648.0 && whole < 2147483648.0 ? (int32_t)whole : INT32_MIN;
}

static void check_floats(const union lanes *a, const union lanes *b, const union lanes *c)
{
    union lanes fma, product, max, min, round, scale;
    fma.floats = _mm512_fmadd_ps(a->floats, b->floats, c->floats);
    product.floats = _mm512_mul_round_ps(a->floats, b->floats, NEAREST);
    /* Fused with the product, the sum would not have been rounded twice. */
    union lanes sum;
    sum.floats = _mm512_mul_round_ps(a->floats, b->floats, NEAREST) + c->floats;
    max.floats = _mm512_max_ps(a->floats, b->floats);
    min.floats = _mm512_min_ps(a->floats, b->floats);
    round.floats = _mm512_roundscale_ps(a->floats, NEAREST);
    scale.floats = _mm512_scalef_ps(a->floats, b->floats);
    const unsigned mask = _mm512_cmp_ps_mask(a->floats, b->floats, _CMP_LE_OQ);
    union lanes whole;
    whole.ints = _mm512_cvtps_epi32(a->floats);
    for (int i = 0; i < 16; i++) {
        const float x = a->f[i], y = b->f[i];
        const uint32_t u = a->u[i], v = b->u[i];
        volatile float single = x * y;
        compare("fmadd_ps", i, fma.u[i], bits_of(fmaf(x, y, c->f[i])), 1, u, v);
        compare("mul_round_ps", i, product.u[i], bits_of(single), 1, u, v);
        compare("mul_round_ps and a sum", i, sum.u[i], bits_of(single + c->f[i]), 1, u, v);
        compare("max_ps", i, max.u[i], x > y ? u : v, 0, u, v);
        compare("min_ps", i, min.u[i], x < y ? u : v, 0, u, v);
        compare("roundscale_ps", i, round.u[i], is_nan(x) ? u | 0x00400000 : bits_of(nearbyintf(x)), 0, u, v);
        compare("scalef_ps", i, scale.u[i], scalef(u, v), 0, u, v);
        compare("cmp_ps_mask", i, mask >> i & 1, x <= y, 0, u, v);
        compare("cvtps_epi32", i, whole.u[i], (uint32_t)nearest_int(x), 0, u, v);
    }
    compare("cmp_ps_mask", 16, mask >> 16, 0, 0, 0, 0);
}

static void check_ints(const union lanes *a, const union lanes *b, const union lanes *c)
{
    union lanes add, both, max, pairs, bytes, left, right, chosen, dots, real, wide, copy;
    add.ints = _mm512_add_epi32(a->ints, b->ints);
    both.ints = _mm512_and_si512(a->ints, b->ints);
    max.ints = _mm512_max_epi32(a->ints, b->ints);
    pairs.ints = _mm512_madd_epi16(a->ints, b->ints);
    bytes.ints = _mm512_maddubs_epi16(a->ints, b->ints);
    left.ints = _mm512_slli_epi32(a->ints, 19);
    right.ints = _mm512_srli_epi16(a->ints, 8);
    chosen.ints = _mm512_permutexvar_epi32(a->ints, b->ints);
    dots.ints = _mm512_dpbusd_epi32(c->ints, a->ints, b->ints);
    real.floats = _mm512_cvtepi32_ps(a->ints);
    wide.ints = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)a->us));
    int16_t shorts[16];
    int8_t lowest[16];
    _mm256_storeu_si256((__m256i *)shorts, _mm512_cvtepi32_epi16(a->ints));
    _mm_storeu_si128((__m128i *)lowest, _mm512_cvtepi32_epi8(a->ints));
    uint8_t room[128];
    memcpy(room + 3, a, sizeof *a);
    copy.ints = _mm512_and_si512(_mm512_loadu_si512(room + 3), _mm512_load_si512(a));
    for (int i = 0; i < 16; i++) {
        const uint32_t u = a->u[i], v = b->u[i];
        compare("add_epi32", i, add.u[i], u + v, 0, u, v);
        compare("and_si512", i, both.u[i], u & v, 0, u, v);
        compare("max_epi32", i, max.u[i], a->i[i] > b->i[i] ? u : v, 0, u, v);
        compare("slli_epi32", i, left.u[i], u << 19, 0, u, v);
        compare("permutexvar_epi32", i, chosen.u[i], b->u[u % 16], 0, u, v);
        compare("cvtepi32_ps", i, real.u[i], bits_of((float)a->i[i]), 0, u, v);
        compare("cvtepu16_epi32", i, wide.u[i], a->us[i], 0, u, v);
        compare("cvtepi32_epi16", i, (uint16_t)shorts[i], u & 0xffff, 0, u, v);
        compare("cvtepi32_epi8", i, (uint8_t)lowest[i], u & 0xff, 0, u, v);
        compare("load", i, copy.u[i], u, 0, u, v);
        uint32_t sum = 0, four = c->u[i];
        for (int j = 0; j < 2; j++)
            sum += (uint32_t)(a->s[2 * i + j] * b->s[2 * i + j]);
        for (int j = 0; j < 4; j++)
            four += (uint32_t)(a->ub[4 * i + j] * b->b[4 * i + j]);
        compare("madd_epi16", i, pairs.u[i], sum, 0, u, v);
        compare("dpbusd_epi32", i, dots.u[i], four, 0, u, v);
    }
    for (int i = 0; i < 32; i++) {
        const int two = a->ub[2 * i] * b->b[2 * i] + a->ub[2 * i + 1] * b->b[2 * i + 1];
        compare("maddubs_epi16", i, bytes.us[i], (uint16_t)saturated(two), 0, a->us[i], b->us[i]);
        compare("srli_epi16", i, right.us[i], a->us[i] >> 8, 0, a->us[i], 0);
    }
    /* Some lanes alone, of an address that fits nothing. */
    const __mmask16 mask = (__mmask16)b->u[0];
    union lanes some;
    some.floats = _mm512_maskz_loadu_ps(mask, room + 3);
    for (int i = 0; i < 16; i++)
        compare("maskz_loadu_ps", i, some.u[i], mask >> i & 1 ? a->u[i] : 0, 0, mask, 0);
    memset(room, 0x5a, sizeof room);
    _mm512_mask_storeu_ps(room + 3, mask, a->floats);
    memcpy(&some, room + 3, sizeof some);
    for (int i = 0; i < 16; i++)
        compare("mask_storeu_ps", i, some.u[i], mask >> i & 1 ? a->u[i] : 0x5a5a5a5a, 0, mask, 0);
    union lanes same;
    same.floats = _mm512_set1_ps(a->f[0]);
    for (int i = 0; i < 16; i++)
        compare("set1_ps", i, same.u[i], a->u[0], 0, 0, 0);
    same.ints = _mm512_set1_epi32(a->i[0]);
    for (int i = 0; i < 16; i++)
        compare("set1_epi32", i, same.u[i], a->u[0], 0, 0, 0);
    same.ints = _mm512_set1_epi16(a->s[0]);
    for (int i = 0; i < 32; i++)
        compare("set1_epi16", i, same.us[i], a->us[0], 0, 0, 0);
}

int main(void)
{
    union lanes a, b, c;
    /* Every special number with every other. */
    for (int first = 0; first < SPECIAL; first++)
        for (int second = 0; second < SPECIAL; second += 16) {
            for (int i = 0; i < 16; i++) {
                a.u[i] = special[first];
                b.u[i] = special[(second + i) % SPECIAL];
                c.u[i] = special[(first + second + 7 * i) % SPECIAL];
            }
            check_floats(&a, &b, &c);
            check_ints(&a, &b, &c);
        }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 16; i++) {
            a.u[i] = draw();
            b.u[i] = draw();
            c.u[i] = draw();
        }
        check_floats(&a, &b, &c);
        check_ints(&a, &b, &c);
    }
    printf("%d differences\n", failures);
    return failures != 0;
}
