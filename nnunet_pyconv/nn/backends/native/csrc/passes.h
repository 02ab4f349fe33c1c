/* The output and the input gradient of a pyramidal convolution as passes over an image, with their packed weights. */
#ifndef PYCONV_PASSES_H
#define PYCONV_PASSES_H

#include "convolve.h"

/* A layer as the caller describes it, see pyconv.c. */
typedef struct {
    int64_t kernel[3], dilation[3], groups, first_in, in_channels, out_channels;
} Level;

typedef struct {
    int64_t batch, in_channels, out_channels, in_size[3], out_size[3], stride[3];
} Shape;

/* Where a pass finds element [group][out][in][kz][ky][kx] of its kernels among the weights of a level. */
typedef struct {
    const float *weight;
    int64_t first;                  /* element [0][0][0][0][0] of the pass */
    int64_t group, out, in, tap[3]; /* distances; negative taps flip the kernel */
} Strides;

/* Pack the weights of a pass in the order in which the register blocks read them; returns the end. */
static float *pack(float *to, const PassLevel *l, const Strides *s) {
    for (int64_t g = 0; g < l->groups; g++)
        for (int64_t out = 0, block; out < l->out; out += block) {
            block = block_channels(l->out - out);
            for (int64_t i = 0; i < l->in; i++)
                for (int64_t kz = 0; kz < l->kernel[0]; kz++)
                    for (int64_t kx = 0; kx < l->kernel[2]; kx++)
                        for (int64_t ky = 0; ky < l->kernel[1]; ky++)
                            for (int64_t o = out; o < out + block; o++)
                                *to++ = s->weight[s->first + g * s->group + o * s->out + i * s->in + kz * s->tap[0] +
                                                  ky * s->tap[1] + kx * s->tap[2]];
        }
    return to;
}

static int64_t weight_count(int64_t levels, const Level *level) {
    int64_t count = 0;
    for (int64_t l = 0; l < levels; l++)
        count += level[l].out_channels * (level[l].in_channels / level[l].groups) * level[l].kernel[0] *
                 level[l].kernel[1] * level[l].kernel[2];
    return count;
}

/* The planes of x lie side by side. */
static void set_distances(Pass *p) {
    p->x_plane = p->in_size[1] * p->in_size[2];
    p->x_channel = p->in_size[0] * p->x_plane;
}

static int forward(const Shape *shape, int64_t levels, const Level *level, const float *x, const float *const *weight,
                   const float *const *bias, float *y, int64_t threads) {
    Pass p = {.x = x,
              .y = y,
              .batch = shape->batch,
              .in_channels = shape->in_channels,
              .out_channels = shape->out_channels,
              .step = {1, 1, 1},
              .levels = levels};
    memcpy(p.in_size, shape->in_size, sizeof(p.in_size));
    memcpy(p.out_size, shape->out_size, sizeof(p.out_size));
    memcpy(p.count, shape->out_size, sizeof(p.count));
    memcpy(p.stride, shape->stride, sizeof(p.stride));
    set_distances(&p);
    float *packed = malloc((size_t)weight_count(levels, level) * sizeof(float)), *end = packed;
    if (!packed) return 1;
    int64_t first_out = 0;
    for (int64_t i = 0; i < levels; first_out += level[i++].out_channels) {
        PassLevel *l = p.level + i;
        const int64_t *k = level[i].kernel, taps = k[0] * k[1] * k[2];
        *l = (PassLevel){.groups = level[i].groups,
                         .in = level[i].in_channels / level[i].groups,
                         .out = level[i].out_channels / level[i].groups,
                         .first_in = level[i].first_in,
                         .first_out = first_out,
                         .weight = end,
                         .bias = bias[i]};
        for (int a = 0; a < 3; a++) {
            l->kernel[a] = k[a];
            l->dilation[a] = level[i].dilation[a];
            l->pad[a] = k[a] / 2 * l->dilation[a];
        }
        end = pack(end, l,
                   &(Strides){.weight = weight[i],
                              .group = l->out * l->in * taps,
                              .out = l->in * taps,
                              .in = taps,
                              .tap = {k[1] * k[2], k[2], 1}});
    }
    const int failed = run_pass(&p, threads);
    free(packed);
    return failed;
}

/* The gradient of x is a convolution of that of y with the flipped and transposed kernels, summed over the levels.
 * With a stride s, elements phase, phase + s, ... of x along an axis see every s-th tap only: one pass a phase. */
static int input_gradient(const Shape *shape, int64_t levels, const Level *level, const float *gradient,
                          const float *const *weight, float *x, int64_t threads) {
    Pass p = {.x = gradient,
              .y = x,
              .batch = shape->batch,
              .in_channels = shape->out_channels,
              .out_channels = shape->in_channels,
              .stride = {1, 1, 1},
              .add_levels = 1,
              .levels = levels};
    memcpy(p.in_size, shape->out_size, sizeof(p.in_size));
    memcpy(p.out_size, shape->in_size, sizeof(p.out_size));
    memcpy(p.step, shape->stride, sizeof(p.step));
    set_distances(&p);
    float *packed = malloc((size_t)weight_count(levels, level) * sizeof(float));
    if (!packed) return 1;
    int failed = 0;
    const int64_t *s = shape->stride;
    for (int64_t phase = 0; phase < s[0] * s[1] * s[2] && !failed; phase++) {
        const int64_t first[3] = {phase / (s[1] * s[2]), phase / s[2] % s[1], phase % s[2]};
        int64_t elements = 1, first_in = 0;
        for (int a = 0; a < 3; a++) {
            p.first[a] = first[a];
            p.count[a] = max64(ceil_div(p.out_size[a] - first[a], s[a]), 0);
            elements *= p.count[a];
        }
        if (!elements) continue;
        float *end = packed;
        for (int64_t i = 0; i < levels; first_in += level[i++].out_channels) {
            PassLevel *l = p.level + i;
            const int64_t *k = level[i].kernel, taps = k[0] * k[1] * k[2];
            *l = (PassLevel){.groups = level[i].groups,
                             .in = level[i].out_channels / level[i].groups,
                             .out = level[i].in_channels / level[i].groups,
                             .first_in = first_in,
                             .first_out = level[i].first_in,
                             .weight = end,
                             .add = i > 0 && level[i].first_in < level[i - 1].first_in + level[i - 1].in_channels};
            Strides from = {.weight = weight[i], .group = l->out * l->in * taps, .out = taps, .in = l->out * taps};
            const int64_t distance[3] = {k[1] * k[2], k[2], 1};
            for (int a = 0; a < 3; a++) {
                /* x[first + s q] gets w[tap + step j] * y[q + ahead - dilation j] for j = 0 .. kernel - 1: the taps
                 * for which first + pad - d tap is a multiple of s. */
                const int64_t d = level[i].dilation[a], from_start = first[a] + k[a] / 2 * d;
                int64_t step = 1, tap = 0;
                while (step * d % s[a]) step++;
                while (tap < step && (from_start - tap * d) % s[a]) tap++;
                l->dilation[a] = step * d / s[a];
                l->kernel[a] = tap < step ? max64(ceil_div(k[a] - tap, step), 0) : 0;
                l->pad[a] = (l->kernel[a] - 1) * l->dilation[a] - (from_start - tap * d) / s[a];
                from.first += (tap + step * (l->kernel[a] - 1)) * distance[a];
                from.tap[a] = -step * distance[a];
            }
            end = pack(end, l, &from);
        }
        failed = run_pass(&p, threads);
    }
    free(packed);
    return failed;
}

#endif
