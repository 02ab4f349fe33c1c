/* Register blocks: the inner loops of a convolution whose vectors run along the width.
 *
 * A block keeps the sums of some output channels x rows x vectors in registers. A row that is loaded serves all its
 * taps: the blocks for the usual kernels know height and stride when they are compiled. The others load the rows again
 * for each tap and take any kernel. */
#ifndef PYCONV_REGISTER_BLOCKS_H
#define PYCONV_REGISTER_BLOCKS_H

#include "vector.h"

#define MAX_KERNEL 31
#define SUMS (REGISTERS / 2) /* vectors of sums in a block; the rest is for rows and weights */

/* What a block reads, in scratch memory; the distances are in floats. */
typedef struct {
    int64_t channels, depth, height, width; /* input channels, and the kernel, */
    int64_t left_out;                       /* without so many taps, those of the planes outside of the image */
    int64_t channel, plane, row;            /* distance to the next one */
    int64_t row_step;                       /* from what one output row reads to what the next one reads */
    int64_t column[MAX_KERNEL];             /* where the window starts for each tap along the width */
} Window;

/* Where a block writes: its first output, and the distances in floats. */
typedef struct {
    float *y;
    int64_t channel, row;
    const float *bias; /* of its output channels, or NULL */
    int add;           /* to what is there */
} Target;

/* input: the window of the first output; weight: [channels][depth][width][height][block], from the first plane on */
typedef void (*RegisterBlock)(const Window *window, const float *input, const float *weight, const Target *target);

#define INLINE static inline __attribute__((always_inline))

/* `block`, `vectors`, `height` and `stride` are constants wherever these are inlined; height 0 is any. */
INLINE void taps(int block, int vectors, int height, int stride, const Window *window, const float *x,
                 const float *weight, vec *acc) {
    const int rows = SUMS / block / vectors;
    UNROLL
    for (int y = 0; y < (rows - 1) * stride + height; y++, x += window->row) {
        vec row[2];
        UNROLL
        for (int v = 0; v < vectors; v++) row[v] = load_once(x + v * VL);
        UNROLL
        for (int r = 0; r < rows; r++)
            if (r * stride <= y && y < r * stride + height) {
                UNROLL
                for (int o = 0; o < block; o++) {
                    const vec w = broadcast(weight[(y - r * stride) * block + o]);
                    UNROLL
                    for (int v = 0; v < vectors; v++) acc[(o * rows + r) * vectors + v] += w * row[v];
                }
            }
    }
}

INLINE void taps_of_any_height(int block, int vectors, const Window *window, const float *x, const float *weight,
                               vec *acc) {
    const int per_channel = SUMS / block;
    for (int64_t ky = 0; ky < window->height; ky++, x += window->row, weight += block) {
        vec row[SUMS];
        UNROLL
        for (int i = 0; i < per_channel; i++) row[i] = load(x + i / vectors * window->row_step + i % vectors * VL);
        UNROLL
        for (int o = 0; o < block; o++) {
            const vec w = broadcast(weight[o]);
            UNROLL
            for (int i = 0; i < per_channel; i++) acc[o * per_channel + i] += w * row[i];
        }
    }
}

INLINE void register_block(int block, int vectors, int height, int stride, const Window *window, const float *input,
                           const float *weight, const Target *to) {
    const int rows = SUMS / block / vectors;
    vec acc[SUMS];
    UNROLL
    for (int i = 0; i < SUMS; i++) {
        acc[i] = (vec){0};
        /* so that the sums need not wait for y */
        __builtin_prefetch(to->y + i / (rows * vectors) * to->channel + i / vectors % rows * to->row + i % vectors * VL,
                           1);
    }
    for (int64_t c = 0; c < window->channels; c++, weight += block * window->left_out)
        for (int64_t z = 0; z < window->depth; z++)
            for (int64_t kx = 0; kx < window->width; kx++, weight += block * window->height) {
                const float *x = input + c * window->channel + z * window->plane + window->column[kx];
                if (height)
                    taps(block, vectors, height, stride, window, x, weight, acc);
                else
                    taps_of_any_height(block, vectors, window, x, weight, acc);
            }
    UNROLL
    for (int o = 0; o < block; o++) {
        const vec bias = broadcast(to->bias ? to->bias[o] : 0);
        UNROLL
        for (int i = 0; i < rows * vectors; i++) {
            float *y = to->y + o * to->channel + i / vectors * to->row + i % vectors * VL;
            const vec sum = acc[o * rows * vectors + i] + bias;
            store(y, to->add ? load(y) + sum : sum);
        }
    }
}

#define BLOCK(CHANNELS, VECTORS, HEIGHT, STRIDE)                                                            \
    static void block_##CHANNELS##_##VECTORS##_##HEIGHT##_##STRIDE(const Window *window, const float *x,    \
                                                                   const float *weight, const Target *to) { \
        register_block(CHANNELS, VECTORS, HEIGHT, STRIDE, window, x, weight, to);                           \
    }
/* clang-format off */
#define ODD_HEIGHTS(_, CHANNELS, VECTORS, STRIDE)                       \
    _(CHANNELS, VECTORS, 3, STRIDE) _(CHANNELS, VECTORS, 5, STRIDE)     \
    _(CHANNELS, VECTORS, 7, STRIDE) _(CHANNELS, VECTORS, 9, STRIDE)
/* Every second tap of the odd kernels makes 2 and 4. */
#define HEIGHTS(_, CHANNELS, VECTORS)                                   \
    _(CHANNELS, VECTORS, 0, 1)                                          \
    ODD_HEIGHTS(_, CHANNELS, VECTORS, 1) ODD_HEIGHTS(_, CHANNELS, VECTORS, 2) \
    _(CHANNELS, VECTORS, 2, 1) _(CHANNELS, VECTORS, 4, 1)
#define BLOCKS(_, CHANNELS) HEIGHTS(_, CHANNELS, 1) HEIGHTS(_, CHANNELS, 2)
/* clang-format on */
BLOCKS(BLOCK, 1)
BLOCKS(BLOCK, 2)
BLOCKS(BLOCK, 4)

/* Output channels of the next block, of those of a group that are left. */
static int64_t block_channels(int64_t left) {
    return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

static RegisterBlock choose_register_block(int64_t channels, int64_t vectors, const Window *window) {
#define ENTRY(CHANNELS, VECTORS, HEIGHT, STRIDE) block_##CHANNELS##_##VECTORS##_##HEIGHT##_##STRIDE,
    static const RegisterBlock blocks[3][22] = {{BLOCKS(ENTRY, 1)}, {BLOCKS(ENTRY, 2)}, {BLOCKS(ENTRY, 4)}};
#undef ENTRY
    const int64_t height = window->height, stride = window->row_step / window->row;
    int64_t known = 0;
    if (height % 2 && 3 <= height && height <= 9 && stride <= 2) known = (height - 1) / 2 + (stride - 1) * 4;
    if ((height == 2 || height == 4) && stride == 1) known = 8 + height / 2;
    return blocks[channels / 2][(vectors - 1) * 11 + known];
}

#endif
