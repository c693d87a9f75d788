/* Emulates AVX-VNNI's vpdpbusd on a processor with AVX2 that lacks it, for tests of the kernels as they are built.
 *
 *     cc -O2 -shared -fPIC .ci/imitate/avx_vnni.c -o avx_vnni.so
 *     CFLAGS=-DVIMNP_EMULATED_AVX_VNNI python setup.py build_ext --inplace
 *     LD_PRELOAD=./avx_vnni.so python -m pytest -p no:faulthandler --hypothesis-profile=few \
 *         -k "avxvnni and not own_sizes and not finite" tests/engine/test_per_channel_products.py
 *
 * A build that imitates AVX-512 (avx512.h) can have that flag besides: the sets do not touch each other. Products
 * of the networks' own sizes take many seconds each, and are left out.
 *
 * The processor raises SIGILL at the instruction; the handler does what Intel's manual says of it to the
 * registers that the system has saved, and goes on behind it. That takes some microseconds, and whatever else is
 * illegal stays so. pytest's own handler would take the signal's place. Linux on x86-64 alone.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

enum { LOW_HALVES = 160, STATES_PRESENT = 512, HALF = 16, LENGTH = 5 }; /* bytes; of XSAVE's area the first two */
static const uint64_t high_halves_present = 4;
static unsigned high_halves;

static void read_register(const char *area, int number, uint8_t to[2 * HALF])
{
    memcpy(to, area + LOW_HALVES + HALF * number, HALF);
    memcpy(to + HALF, area + high_halves + HALF * number, HALF);
}

static void write_register(char *area, int number, const uint8_t from[2 * HALF])
{
    memcpy(area + LOW_HALVES + HALF * number, from, HALF);
    memcpy(area + high_halves + HALF * number, from + HALF, HALF);
}

/* VEX.256.66.0F38.W0 50 /r between registers: of three bytes of prefix, the opcode, and the operands. */
static int is_vpdpbusd(const uint8_t *code)
{
    return code[0] == 0xc4 && (code[1] & 0x1f) == 2 && (code[2] & 0x87) == 5 && code[3] == 0x50 && code[4] >> 6 == 3;
}

/* To each of 8 sums, 4 products of unsigned bytes and signed ones; sums wrap. */
static void add_products(uint8_t sums[2 * HALF], const uint8_t *codes, const uint8_t *numbers)
{
    for (int i = 0; i < 2 * HALF; i += 4) {
        uint32_t sum;
        memcpy(&sum, sums + i, sizeof sum);
        for (int j = 0; j < 4; j++)
            sum += (uint32_t)((int)codes[i + j] * (int8_t)numbers[i + j]);
        memcpy(sums + i, &sum, sizeof sum);
    }
}

static void on_illegal_instruction(int number, siginfo_t *info, void *context)
{
    mcontext_t *saved = &((ucontext_t *)context)->uc_mcontext;
    const uint8_t *code = (const uint8_t *)saved->gregs[REG_RIP];
    char *area = (char *)saved->fpregs;
    uint8_t sums[2 * HALF], codes[2 * HALF], numbers[2 * HALF];
    uint64_t present;
    (void)info;
    if (!is_vpdpbusd(code)) {
        signal(number, SIG_DFL); /* it comes again, and ends the process */
        return;
    }
    memcpy(&present, area + STATES_PRESENT, sizeof present);
    if (!(present & high_halves_present)) { /* all of them are zero, and were not written */
        memset(area + high_halves, 0, 16 * HALF);
        present |= high_halves_present;
        memcpy(area + STATES_PRESENT, &present, sizeof present);
    }
    const int sum = (code[4] >> 3 & 7) | (code[1] & 0x80 ? 0 : 8);
    read_register(area, sum, sums);
    read_register(area, ~(code[2] >> 3) & 15, codes);
    read_register(area, (code[4] & 7) | (code[1] & 0x20 ? 0 : 8), numbers);
    add_products(sums, codes, numbers);
    write_register(area, sum, sums);
    saved->gregs[REG_RIP] += LENGTH;
}

__attribute__((constructor)) static void begin(void)
{
    const unsigned extended_states = 0xd, high_halves_of_avx = 2;
    unsigned size, c, d;
    __cpuid_count(extended_states, high_halves_of_avx, size, high_halves, c, d);
    struct sigaction action = {0};
    action.sa_sigaction = on_illegal_instruction;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGILL, &action, NULL);
}
