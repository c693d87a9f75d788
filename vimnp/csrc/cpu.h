/* What this processor has, and the mode in which a thread's floating-point unit works. */
#ifndef VIMNP_CPU_H
#define VIMNP_CPU_H

#if defined(__GNUC__) || defined(__clang__) /* clang-cl has the second only */
#if defined(__x86_64__)
#define VIMNP_X86 1
#elif defined(__aarch64__)
#define VIMNP_ARM 1
#endif
#endif

/* Set by .ci/imitate/avx512.h, which is included before all else in a build for tests: AVX-512 and VNNI are then
 * imitated with AVX2. */
#ifndef VIMNP_IMITATED
#define VIMNP_IMITATED 0
#endif

#if VIMNP_ARM && defined(__linux__)
#include <sys/auxv.h>
#elif VIMNP_ARM && defined(_WIN32)
#include "clock.h" /* includes windows.h as we want it */
#endif

struct cpu_features {
    int avx2, avx512; /* with FMA; the foundation, and bytes and words */
    /* Sums of four products of bytes in one instruction: of 64 bytes, of 32, and ARM's of 16. */
    int avx512_vnni, avx_vnni, dotprod;
};

#if VIMNP_X86

enum { EAX, EBX, ECX, EDX };

static void read_cpuid(unsigned leaf, unsigned subleaf, unsigned registers[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(registers[EAX]), "=b"(registers[EBX]), "=c"(registers[ECX]),
                       "=d"(registers[EDX])
                     : "a"(leaf), "c"(subleaf));
}

/* The registers that the system saves when it changes threads. */
static unsigned read_saved_state(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* An instruction is usable if the processor has it and the system saves the registers that it changes.
 * The compiler's __builtin_cpu_supports says no to everything with some run-time libraries. */
static struct cpu_features find_cpu_features(void)
{
    const unsigned osxsave = 1u << 27, fma = 1u << 12; /* of leaf 1, ECX */
    const unsigned avx2 = 1u << 5, avx512 = 1u << 16 | 1u << 30; /* of leaf 7, EBX */
    const unsigned avx512_vnni = 1u << 11;                       /* of leaf 7, ECX */
    const unsigned avx_vnni = 1u << 4;                           /* of leaf 7's subleaf 1, EAX */
    const unsigned ymm = 0x06, zmm = 0xe6; /* SSE and AVX; and masks, and two halves */
    struct cpu_features found = {0};
    unsigned leaf[4];
    read_cpuid(0, 0, leaf);
    const unsigned last_leaf = leaf[EAX];
    read_cpuid(1, 0, leaf);
    if (last_leaf < 7 || (leaf[ECX] & osxsave) == 0 || (leaf[ECX] & fma) == 0)
        return found;
    const unsigned saved = read_saved_state();
    read_cpuid(7, 0, leaf);
    const unsigned last_subleaf = leaf[EAX];
    found.avx2 = (saved & ymm) == ymm && (leaf[EBX] & avx2) != 0;
    found.avx512 = found.avx2 && (saved & zmm) == zmm && (leaf[EBX] & avx512) == avx512;
    found.avx512_vnni = found.avx512 && (leaf[ECX] & avx512_vnni) != 0;
    if (last_subleaf >= 1) {
        read_cpuid(7, 1, leaf);
        found.avx_vnni = found.avx2 && (leaf[EAX] & avx_vnni) != 0;
    }
#if VIMNP_IMITATED
    found.avx512 = found.avx512_vnni = found.avx2;
#endif
#if defined(VIMNP_EMULATED_AVX_VNNI) /* by .ci/imitate/avx_vnni.c, for tests */
    found.avx_vnni = found.avx2;
#endif
    return found;
}

#else

static struct cpu_features find_cpu_features(void)
{
    struct cpu_features found = {0};
#if VIMNP_ARM && (defined(__APPLE__) || defined(__ARM_FEATURE_DOTPROD))
    found.dotprod = 1;
#elif VIMNP_ARM && defined(__linux__)
    const unsigned long asimddp = 1ul << 20;
    found.dotprod = (getauxval(AT_HWCAP) & asimddp) != 0;
#elif VIMNP_ARM && defined(_WIN32)
    const DWORD dot_products = 43; /* PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE, which older headers lack */
    found.dotprod = IsProcessorFeaturePresent(dot_products) != 0;
#endif
    return found;
}
#endif

/* Rounding, and whether denormals are flushed to zero, of the calling thread. */
static inline unsigned long long float_mode(void)
{
    unsigned long long mode = 0;
#if VIMNP_X86
    unsigned control;
    __asm__ volatile("stmxcsr %0" : "=m"(control));
    mode = control;
#elif VIMNP_ARM
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
#endif
    return mode;
}

static inline void set_float_mode(unsigned long long mode)
{
#if VIMNP_X86
    const unsigned control = (unsigned)mode;
    __asm__ volatile("ldmxcsr %0" : : "m"(control));
#elif VIMNP_ARM
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#endif
    (void)mode;
}

#endif
