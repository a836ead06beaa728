/* The kernels for one type of activations: T, and NAME(f) for f's name. Included by kernels.c, once for each type. */

#define GET NAME(get)
#define PUT NAME(put)
#define READ NAME(read_row)
#define WRITE NAME(write_row)

/* n numbers into scratch, which has room for a multiple of 16: zeros beyond. */
static void READ(const T *x, float *to, int n) {
    int i = 0;
    for (; i + W <= n; i += W) put_float(to + i, GET(x + i));
    if (i < n) {
        T rest[W] = {0};
        memcpy(rest, x + i, (n - i) * sizeof(T));
        put_float(to + i, GET(rest));
    }
}

static void WRITE(const float *x, T *to, int n) {
    int i = 0;
    for (; i + W <= n; i += W) PUT(to + i, get_float(x + i));
    if (i < n) {
        T rest[W];
        PUT(rest, get_float(x + i));
        memcpy(to + i, rest, (n - i) * sizeof(T));
    }
}

/* One head of a document: (L, D), `stride` apart, to (tall, Dp). */
static void NAME(read_head)(const T *x, long stride, int L, int D, int tall, int Dp, float *to) {
    for (int i = 0; i < L; i++) READ(x + i * stride, to + i * Dp, D);
    memset(to + L * Dp, 0, (size_t)(tall - L) * Dp * sizeof(float));
}

/* Of one head of a document, from its first token's queries on: queries, keys and values, and their scores (L, Lp). */
static void NAME(read_and_score)(const T *head, long width, int L, int D, int Dp, float *q, float *k, float *v,
                                 float *across, float *scores) {
    const int Lp = UP(L, W);
    NAME(read_head)(head, 3 * width, L, D, Lp, Dp, q);
    NAME(read_head)(head + width, 3 * width, L, D, Lp, Dp, k);
    NAME(read_head)(head + 2 * width, 3 * width, L, D, Lp, Dp, v);
    transpose(k, Lp, Dp, across);
    product(UP(L, 4), Lp, D, q, Dp, 1, across, Lp, scores, Lp);
}

/* Softmax attention within documents, with dropout of the shares.
   qkv: (tokens, 3, H, D).  bounds: (documents + 1,), tokens.  context: (tokens, H, D).  log_sums: (tokens, H). */
void NAME(attend)(const T *qkv, const int32_t *bounds, int documents, int longest, int H, int D, float scale, int causal,
                  int half_window, uint32_t dropped, float keep_scale, uint64_t seed, T *context, float *log_sums,
                  int threads) {
    const int Dp = UP(D, W);
    const long width = (long)H * D;
#pragma omp parallel num_threads(threads)
    {
        const size_t most_rows = UP(longest, W);
        float *q = scratch(most_rows * (4 * Dp + most_rows));
        float *k = q + most_rows * Dp, *v = k + most_rows * Dp, *across = v + most_rows * Dp;
        float *scores = across + most_rows * Dp;
#pragma omp for schedule(dynamic)
        for (long each = 0; each < (long)documents * H; each++) {
            const int start = bounds[each / H], L = bounds[each / H + 1] - start, h = each % H;
            const int Lp = UP(L, W), M = UP(L, 4);
            NAME(read_and_score)(qkv + start * 3 * width + h * D, width, L, D, Dp, q, k, v, across, scores);
            for (int i = 0; i < L; i++) {
                int first, end;
                float *row = scores + i * Lp;
                seen(i, L, causal, half_window, &first, &end);
                log_sums[(start + i) * (long)H + h] = shares_and_log_sum(row, Lp, first, end, scale);
                if (!dropped) continue;
                const uint32_t key = row_key(seed, (start + i) * (uint64_t)H + h);
                for (int j = 0; j < Lp; j += W)
                    put_float(row + j, keep(kept(key, j, dropped), get_float(row + j) * keep_scale));
            }
            product(M, Dp, L, scores, Lp, 1, v, Dp, q, Dp);
            for (int i = 0; i < L; i++) WRITE(q + i * Dp, context + (start + i) * width + h * D, D);
        }
        free(q);
    }
}

void NAME(attend_backward)(const T *d_context, const T *qkv, const float *log_sums, const int32_t *bounds, int documents,
                           int longest, int H, int D, float scale, int causal, int half_window, uint32_t dropped,
                           float keep_scale, uint64_t seed, T *d_qkv, int threads) {
    const int Dp = UP(D, W);
    const long width = (long)H * D;
#pragma omp parallel num_threads(threads)
    {
        const size_t most_rows = UP(longest, W);
        float *q = scratch(most_rows * (6 * Dp + 2 * most_rows));
        float *k = q + most_rows * Dp, *v = k + most_rows * Dp, *d = v + most_rows * Dp;
        float *across = d + most_rows * Dp, *out = across + most_rows * Dp;
        float *weights = out + most_rows * Dp, *d_weights = weights + most_rows * most_rows;
#pragma omp for schedule(dynamic)
        for (long each = 0; each < (long)documents * H; each++) {
            const int start = bounds[each / H], L = bounds[each / H + 1] - start, h = each % H;
            const int Lp = UP(L, W), M = UP(L, 4);
            NAME(read_and_score)(qkv + start * 3 * width + h * D, width, L, D, Dp, q, k, v, across, weights);
            NAME(read_head)(d_context + start * width + h * D, width, L, D, Lp, Dp, d);
            transpose(v, Lp, Dp, across);
            product(M, Lp, D, d, Dp, 1, across, Lp, d_weights, Lp);
            for (int i = 0; i < L; i++) {
                int first, end;
                float *row = weights + i * Lp, *d_row = d_weights + i * Lp;
                const uint32_t key = row_key(seed, (start + i) * (uint64_t)H + h);
                seen(i, L, causal, half_window, &first, &end);
                shares(row, Lp, first, end, scale, log_sums[(start + i) * (long)H + h]);
                vf inner = all(0);
                for (int j = 0; j < Lp; j += W) {
                    if (dropped)
                        put_float(d_row + j, keep(kept(key, j, dropped), get_float(d_row + j) * keep_scale));
                    inner += get_float(row + j) * get_float(d_row + j);
                }
                const float mean = sum_of(inner);
                for (int j = 0; j < Lp; j += W) {
                    vf share = get_float(row + j);
                    put_float(d_row + j, share * (get_float(d_row + j) - mean) * scale);
                    if (dropped) put_float(row + j, keep(kept(key, j, dropped), share * keep_scale));
                }
            }
            T *d_head = d_qkv + start * 3 * width + h * D;
            product(M, Dp, L, d_weights, Lp, 1, k, Dp, out, Dp);
            for (int i = 0; i < L; i++) WRITE(out + i * Dp, d_head + i * 3 * width, D);
            product(M, Dp, L, d_weights, 1, Lp, q, Dp, out, Dp);
            for (int i = 0; i < L; i++) WRITE(out + i * Dp, d_head + i * 3 * width + width, D);
            product(M, Dp, L, weights, 1, Lp, d, Dp, out, Dp);
            for (int i = 0; i < L; i++) WRITE(out + i * Dp, d_head + i * 3 * width + 2 * width, D);
        }
        free(q);
    }
}

/* Into `row` (C,): x with dropout, and the residual, where there is one, added. */
static void NAME(add_row)(const T *x, const T *residual, long n, int C, uint32_t dropped, float keep_scale, uint64_t seed,
                          float *row, float *other) {
    READ(x + n * C, row, C);
    if (dropped) {
        const uint32_t key = row_key(seed, n);
        for (int i = 0; i < C; i += W) put_float(row + i, keep(kept(key, i, dropped), get_float(row + i) * keep_scale));
    }
    if (residual) {
        READ(residual + n * C, other, C);
        for (int i = 0; i < C; i += W) put_float(row + i, get_float(row + i) + get_float(other + i));
    }
}

/* out = dropout(x) + residual, (rows, C); without a residual also the gradient of x, given that of out. */
void NAME(dropout_add)(const T *x, const T *residual, long rows, int C, uint32_t dropped, float keep_scale, uint64_t seed,
                       T *out, int threads) {
#pragma omp parallel num_threads(threads)
    {
        float *row = scratch(2 * UP(C, W));
#pragma omp for schedule(static)
        for (long n = 0; n < rows; n++) {
            NAME(add_row)(x, residual, n, C, dropped, keep_scale, seed, row, row + UP(C, W));
            WRITE(row, out + n * C, C);
        }
        free(row);
    }
}

/* sum = dropout(x) + residual; out = its layer norm (Ba et al., 2016). (rows, C); bias may be NULL; mean, rstd: (rows,) */
void NAME(add_norm)(const T *x, const T *residual, long rows, int C, uint32_t dropped, float keep_scale, uint64_t seed,
                    const float *weight, const float *bias, float eps, T *sum, T *out, float *mean, float *rstd,
                    int threads) {
#pragma omp parallel num_threads(threads)
    {
        const int Cp = UP(C, W);
        float *row = scratch(4 * Cp), *other = row + Cp, *scale = row + 2 * Cp, *shift = row + 3 * Cp;
        read_row_float(weight, scale, C);
        memset(shift, 0, Cp * sizeof(float));
        if (bias) read_row_float(bias, shift, C);
#pragma omp for schedule(static)
        for (long n = 0; n < rows; n++) {
            NAME(add_row)(x, residual, n, C, dropped, keep_scale, seed, row, other);
            WRITE(row, sum + n * C, C);
            READ(sum + n * C, row, C); /* what the backward pass will read */
            vf total = all(0), squares = all(0);
            for (int i = 0; i < Cp; i += W) total += get_float(row + i);
            mean[n] = sum_of(total) / C;
            for (int i = 0; i < Cp; i += W) put_float(row + i, get_float(row + i) - mean[n]);
            memset(row + C, 0, (Cp - C) * sizeof(float));
            for (int i = 0; i < Cp; i += W) squares += get_float(row + i) * get_float(row + i);
            rstd[n] = 1 / sqrtf(sum_of(squares) / C + eps);
            for (int i = 0; i < Cp; i += W)
                put_float(row + i, get_float(row + i) * rstd[n] * get_float(scale + i) + get_float(shift + i));
            WRITE(row, out + n * C, C);
        }
        free(row);
    }
}

/* d_sum (rows, C) is also the residual's gradient; d_x is NULL where nothing was dropped: it is d_sum then.
   partial: (threads, 2, C), the sums of each thread over its rows, which become d_weight and d_bias (C,). */
void NAME(add_norm_backward)(const T *d_out, const T *sum, const float *mean, const float *rstd, const float *weight,
                             long rows, int C, uint32_t dropped, float keep_scale, uint64_t seed, T *d_sum, T *d_x,
                             float *d_weight, float *d_bias, int threads) {
    const int Cp = UP(C, W);
    float *partial = scratch((size_t)threads * 2 * Cp);
    memset(partial, 0, (size_t)threads * 2 * Cp * sizeof(float));
#pragma omp parallel num_threads(threads)
    {
        float *g = scratch(3 * Cp), *x = g + Cp, *scale = g + 2 * Cp;
        float *by_weight = partial + (size_t)THREAD * 2 * Cp, *by_bias = by_weight + Cp;
        read_row_float(weight, scale, C);
#pragma omp for schedule(static)
        for (long n = 0; n < rows; n++) {
            READ(d_out + n * C, g, C);
            READ(sum + n * C, x, C);
            vf total = all(0), inner = all(0);
            for (int i = 0; i < Cp; i += W) {
                vf unit = (get_float(x + i) - mean[n]) * rstd[n], d = get_float(g + i);
                put_float(by_weight + i, get_float(by_weight + i) + d * unit);
                put_float(by_bias + i, get_float(by_bias + i) + d);
                d *= get_float(scale + i);
                total += d;
                inner += d * unit;
                put_float(x + i, unit);
                put_float(g + i, d);
            }
            const float of_mean = sum_of(total) / C, of_unit = sum_of(inner) / C;
            for (int i = 0; i < Cp; i += W)
                put_float(g + i, (get_float(g + i) - of_mean - get_float(x + i) * of_unit) * rstd[n]);
            WRITE(g, d_sum + n * C, C);
            if (!d_x) continue;
            const uint32_t key = row_key(seed, n);
            for (int i = 0; i < Cp; i += W) put_float(g + i, keep(kept(key, i, dropped), get_float(g + i) * keep_scale));
            WRITE(g, d_x + n * C, C);
        }
        free(g);
    }
    for (int t = 1; t < threads; t++)
        for (int i = 0; i < 2 * Cp; i++) partial[i] += partial[(size_t)t * 2 * Cp + i];
    memcpy(d_weight, partial, C * sizeof(float));
    memcpy(d_bias, partial + Cp, C * sizeof(float));
    free(partial);
}

/* Cross-entropy of P rows of V scores. Negative labels are left out. loss, hit: (P,); hit: no score is above the label's.
   With `wanted` the scores become their gradient, of which d_bias (V,) gets the sum over rows. */
void NAME(cross_entropy)(T *scores, const int64_t *labels, long P, int V, int wanted, float *loss, uint8_t *hit,
                         float *d_bias, int threads) {
    const int Vp = UP(V, W);
    float *partial = scratch((size_t)threads * Vp);
    memset(partial, 0, (size_t)threads * Vp * sizeof(float));
#pragma omp parallel num_threads(threads)
    {
        float *row = scratch(Vp), *own = partial + (size_t)THREAD * Vp;
#pragma omp for schedule(static)
        for (long n = 0; n < P; n++) {
            T *score = scores + n * V;
            const int64_t label = labels[n];
            loss[n] = 0;
            hit[n] = 0;
            if (label < 0) {
                if (wanted) memset(score, 0, V * sizeof(T));
                continue;
            }
            READ(score, row, V);
            for (int i = V; i < Vp; i++) row[i] = row[0];
            vf high = get_float(row), sum = all(0);
            for (int i = W; i < Vp; i += W) high = greater(get_float(row + i), high);
            const float highest = largest_of(high), of_label = row[label];
            for (int i = 0; i < Vp; i += W) {
                vf e = exponential(get_float(row + i) - highest);
                put_float(row + i, e);
                sum += e;
            }
            float total = sum_of(sum);
            for (int i = V; i < Vp; i++) total -= row[i];
            loss[n] = logf(total) + highest - of_label;
            hit[n] = of_label >= highest;
            if (!wanted) continue;
            row[label] -= total;
            const float share = 1 / total;
            memset(row + V, 0, (Vp - V) * sizeof(float));
            for (int i = 0; i < Vp; i += W) {
                vf d = get_float(row + i) * share;
                put_float(row + i, d);
                put_float(own + i, get_float(own + i) + d);
            }
            WRITE(row, score, V);
        }
        free(row);
    }
    for (int t = 1; t < threads; t++)
        for (int i = 0; i < V; i++) partial[i] += partial[(size_t)t * Vp + i];
    if (d_bias) memcpy(d_bias, partial, V * sizeof(float));
    free(partial);
}

#undef GET
#undef PUT
#undef READ
#undef WRITE
