/* What a training step on a CPU does between matrix products, each in one pass over memory (see __init__.py).

   Rows are read into float scratch, computed on 16 numbers at a time, and written back; bf16 is rounded to nearest even.
   Vectors are GCC's and Clang's own extension, so that any CPU runs this, with the instructions it has. Nothing depends
   on which thread is faster: rows are dealt statically, and partial sums are added in the order of the threads. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#define THREAD omp_get_thread_num()
#else
#define THREAD 0
#endif

#define W 16
#define UP(n, to) (((n) + (to) - 1) / (to) * (to))
#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));
typedef uint16_t vh __attribute__((vector_size(32)));
/* The same anywhere in memory. Not for variables: GCC moves those eight bytes at a time. */
typedef float vf_at __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t vu_at __attribute__((vector_size(64), aligned(2), may_alias));
typedef uint16_t vh_at __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint16_t bf16;

static const vu lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

INLINE vf all(float x) { return (vf){0} + x; }
INLINE vf keep(vi where, vf x) { return (vf)((vi)x & where); }
INLINE vf greater(vf a, vf b) { vi w = a > b; return (vf)(((vi)a & w) | ((vi)b & ~w)); }  /* b where either is NaN */

/* x with its lanes moved by 8, 4, 2 or 1: what folds 16 numbers in four steps. */
INLINE vf moved(vf x, int by) {
    static const vi to[4] = {{1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14},
                             {2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13},
                             {4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11},
                             {8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7}};
    return __builtin_shuffle(x, to[by]);
}
INLINE float sum_of(vf x) {
    for (int by = 0; by < 4; by++) x += moved(x, by);
    return x[0];
}
INLINE float largest_of(vf x) {
    for (int by = 0; by < 4; by++) x = greater(moved(x, by), x);
    return x[0];
}

INLINE vf get_float(const float *x) { return *(const vf_at *)x; }
INLINE void put_float(float *x, vf v) { *(vf_at *)x = v; }
INLINE vf get_bf16(const bf16 *x) { return (vf)(__builtin_convertvector(*(const vh_at *)x, vu) << 16); }
INLINE void put_bf16(bf16 *x, vf v) {
    vu u = (vu)v;
    *(vh_at *)x = __builtin_convertvector((u + 0x7fff + ((u >> 16) & 1)) >> 16, vh);
}

/* exp of numbers of at most 0 or so, to 2 units in the last place (Cephes' polynomial). Below -64 it is zero: what is
   1e-28 of the largest is lost beside it, and its multiples would be denormal, which costs a hundred cycles each. */
INLINE vf exponential(vf x) {
    const vf magic = all(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    vi low = x < all(-64.0f); /* not NaN, which stays */
    vf t = x * 1.44269504f + magic, n = t - magic;
    vf r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vf p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return keep(~low, p * (vf)(((vi)t - (vi)magic + 127) << 23));
}

/* Dropout's draws: a hash of (seed, row, column), so that the backward pass draws again what was drawn. Row keys are
   splitmix64's (Steele et al., 2014), columns go through Wellons' lowbias32. */
INLINE uint32_t row_key(uint64_t seed, uint64_t row) {
    uint64_t z = seed + (row + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return (uint32_t)(z >> 32);
}

INLINE vi kept(uint32_t key, uint32_t column, uint32_t dropped) {
    vu u = (lanes + column) * 0x9E3779B9u + key;
    u = (u ^ (u >> 16)) * 0x7feb352du;
    u = (u ^ (u >> 15)) * 0x846ca68bu;
    return (vi)((u ^ (u >> 16)) >= dropped);
}

static float *scratch(size_t floats) {
    void *memory = NULL;
    if (posix_memalign(&memory, 64, (floats + W) * sizeof(float))) abort(); /* as torch: nothing could go on */
    return memory;
}

/* c (M, N) = a (M, K) @ b (K, N). a has strides of rows and columns; M is a multiple of 4, N of 16. */
INLINE void tile(const int MR, const int NR, int K, const float *a, long rows, long columns, const float *b, long ldb,
                 float *c, long ldc) {
    vf sum[8][2];
    for (int i = 0; i < MR; i++)
        for (int j = 0; j < NR; j++) sum[i][j] = all(0);
    for (int k = 0; k < K; k++) {
        vf right[2];
        for (int j = 0; j < NR; j++) right[j] = get_float(b + k * ldb + j * W);
        for (int i = 0; i < MR; i++)
            for (int j = 0; j < NR; j++) sum[i][j] += a[i * rows + k * columns] * right[j];
    }
    for (int i = 0; i < MR; i++)
        for (int j = 0; j < NR; j++) put_float(c + i * ldc + j * W, sum[i][j]);
}

static void product(int M, int N, int K, const float *a, long rows, long columns, const float *b, long ldb, float *c,
                    long ldc) {
    for (int n = 0; n < N;) {
        int wide = N - n >= 2 * W;
        for (int m = 0; m < M;) {
            int tall = M - m >= 8;
            const float *am = a + m * rows, *bn = b + n;
            float *out = c + m * ldc + n;
            if (tall && wide) tile(8, 2, K, am, rows, columns, bn, ldb, out, ldc);
            else if (wide) tile(4, 2, K, am, rows, columns, bn, ldb, out, ldc);
            else if (tall) tile(8, 1, K, am, rows, columns, bn, ldb, out, ldc);
            else tile(4, 1, K, am, rows, columns, bn, ldb, out, ldc);
            m += tall ? 8 : 4;
        }
        n += wide ? 2 * W : W;
    }
}

INLINE int least(int a, int b) { return a < b ? a : b; }
INLINE int most(int a, int b) { return a > b ? a : b; }

/* Of a document's token i: the first token it sees, and the first after these that it does not. */
INLINE void seen(int i, int length, int causal, int half_window, int *first, int *end) {
    *first = half_window < 0 ? 0 : most(0, i - half_window);
    *end = half_window < 0 ? length : least(length, i + half_window + 1);
    if (causal) *end = least(*end, i + 1);
}

/* One row of scores, in place, becomes exp(scale * score - log_sum), and zero where it does not see; its sum. */
INLINE vf shares(float *row, int padded, int first, int end, float scale, float log_sum) {
    vf sum = all(0);
    for (int j = 0; j < padded; j += W) {
        vi column = (vi)lanes + j;
        vf share = keep((column >= first) & (column < end), exponential(get_float(row + j) * scale - log_sum));
        put_float(row + j, share);
        sum += share;
    }
    return sum;
}

/* The same without knowing the log_sum, which is returned. */
INLINE float shares_and_log_sum(float *row, int padded, int first, int end, float scale) {
    vf high = all(row[first]);
    int j = first;
    for (; j + W <= end; j += W) high = greater(get_float(row + j), high);
    float highest = largest_of(high);
    for (; j < end; j++) highest = row[j] > highest ? row[j] : highest;
    highest *= scale;
    const float total = sum_of(shares(row, padded, first, end, scale, highest)), share = 1 / total;
    for (j = 0; j < padded; j += W) put_float(row + j, get_float(row + j) * share);
    return highest + logf(total);
}

/* b (columns, rows) = a (rows, columns), both multiples of 16: in four stages, each swapping blocks of half the size. */
INLINE void transpose_tile(vf r[W]) {
    static const vi from[4][2] = {
        {{0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23}, {8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31}},
        {{0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27}, {4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31}},
        {{0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29}, {2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31}},
        {{0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30}, {1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31}},
    };
#pragma GCC unroll 4
    for (int stage = 0; stage < 4; stage++) {
        const int size = 8 >> stage;
#pragma GCC unroll 8
        for (int pair = 0; pair < W / 2; pair++) {
            const int i = pair / size * 2 * size + pair % size;
            vf upper = r[i], lower = r[i + size];
            r[i] = __builtin_shuffle(upper, lower, from[stage][0]);
            r[i + size] = __builtin_shuffle(upper, lower, from[stage][1]);
        }
    }
}

static void transpose(const float *a, int rows, int columns, float *b) {
    for (int i = 0; i < rows; i += W)
        for (int j = 0; j < columns; j += W) {
            vf r[W];
#pragma GCC unroll 16
            for (int n = 0; n < W; n++) r[n] = get_float(a + (long)(i + n) * columns + j);
            transpose_tile(r);
#pragma GCC unroll 16
            for (int n = 0; n < W; n++) put_float(b + (long)(j + n) * rows + i, r[n]);
        }
}

#define T float
#define NAME(name) name##_float
#include "of_type.h"
#undef T
#undef NAME
#define T bf16
#define NAME(name) name##_bf16
#include "of_type.h"

/* across (M, N) = g (N, M), and sums (M,) over its N rows; N and M multiples of 32. Two rows are woven into pairs of
   bf16, which are moved as one number of 32 bits: two tiles of 16 x 16 pairs, and whole cache lines read and written. */
void transpose_and_sum_bf16(const bf16 *g, long rows, long columns, bf16 *across, float *sums, int threads) {
    const vu low = (vu){0} + 0xffffu;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long j = 0; j < columns; j += 2 * W) {
        vf even_sums = all(0), odd_sums = all(0);
        for (long i = 0; i < rows; i += 2 * W) {
            vf even[W], odd[W]; /* columns j, j + 2, ... and j + 1, j + 3, ...; then, transposed, one of them each */
#pragma GCC unroll 16
            for (int n = 0; n < W; n++) {
                const bf16 *row = g + (i + 2 * n) * columns + j;
                vu a = *(const vu_at *)row, b = *(const vu_at *)(row + columns);
                even[n] = (vf)((a & low) | (b << 16));
                odd[n] = (vf)((a >> 16) | (b & ~low));
                even_sums += (vf)(a << 16) + (vf)(b << 16);
                odd_sums += (vf)(a & ~low) + (vf)(b & ~low);
            }
            transpose_tile(even);
            transpose_tile(odd);
#pragma GCC unroll 16
            for (int n = 0; n < W; n++) {
                *(vu_at *)(across + (j + 2 * n) * rows + i) = (vu)even[n];
                *(vu_at *)(across + (j + 2 * n + 1) * rows + i) = (vu)odd[n];
            }
        }
        for (int n = 0; n < W; n++) {
            sums[j + 2 * n] = even_sums[n];
            sums[j + 2 * n + 1] = odd_sums[n];
        }
    }
}
