/* Register blocks: the inner loops of a convolution whose vectors run along the width.
 *
 * A block keeps the sums of some output channels x rows x vectors in registers. Where it has few channels, a row that
 * is loaded must serve several taps: those blocks know the height of the kernel when they are compiled. The others
 * load the rows again for each tap and take any kernel. */
#ifndef PYCONV_REGISTER_BLOCKS_H
#define PYCONV_REGISTER_BLOCKS_H

#include "vector.h"

#define MAX_KERNEL 31
#define SUMS (REGISTERS / 2)      /* vectors of sums in a block; the rest is for rows and weights */
#define MAX_BLOCK (REGISTERS / 4) /* output channels of a block, at most */

/* What a block reads, in scratch memory; the distances are in floats. */
typedef struct {
    int64_t channels, depth, height, width; /* input channels of the group, and the kernel */
    int64_t channel, plane, row;            /* distance to the next one */
    int64_t row_step;                       /* from what one output row reads to what the next one reads */
    int64_t column[MAX_KERNEL];             /* where the window starts for each tap along the width */
} Window;

/* input: the window of the first output; weight: [channels][depth][width][height][block]; sum: [block][rows][vectors] */
typedef void (*RegisterBlock)(const Window *window, const float *input, const float *weight, vec *sum);

#define INLINE static inline __attribute__((always_inline))

/* `block`, `vectors` and `height` are constants wherever these two are inlined. */
INLINE void any_height(int block, int vectors, const Window *window, const float *input, const float *weight, vec *sum) {
    const int rows = SUMS / block / vectors;
    vec acc[SUMS];
    UNROLL for (int i = 0; i < SUMS; i++) acc[i] = (vec){0};
    for (int64_t c = 0; c < window->channels; c++)
        for (int64_t z = 0; z < window->depth; z++)
            for (int64_t kx = 0; kx < window->width; kx++) {
                const float *x = input + c * window->channel + z * window->plane + window->column[kx];
                for (int64_t ky = 0; ky < window->height; ky++, x += window->row, weight += block) {
                    vec row[SUMS];
                    UNROLL for (int i = 0; i < rows * vectors; i++)
                        row[i] = load(x + i / vectors * window->row_step + i % vectors * VL);
                    UNROLL for (int o = 0; o < block; o++) {
                        const vec w = broadcast(weight[o]);
                        UNROLL for (int i = 0; i < rows * vectors; i++) acc[o * rows * vectors + i] += w * row[i];
                    }
                }
            }
    UNROLL for (int i = 0; i < SUMS; i++) sum[i] = acc[i];
}

/* For row_step == row and a kernel of that height. */
INLINE void fixed_height(int block, int vectors, int height, const Window *window, const float *input,
                         const float *weight, vec *sum) {
    const int rows = SUMS / block / vectors;
    vec acc[SUMS];
    UNROLL for (int i = 0; i < SUMS; i++) acc[i] = (vec){0};
    for (int64_t c = 0; c < window->channels; c++)
        for (int64_t z = 0; z < window->depth; z++)
            for (int64_t kx = 0; kx < window->width; kx++, weight += block * height) {
                const float *x = input + c * window->channel + z * window->plane + window->column[kx];
                UNROLL for (int y = 0; y < rows + height - 1; y++, x += window->row) {
                    vec row[2];
                    UNROLL for (int v = 0; v < vectors; v++) row[v] = load_once(x + v * VL);
                    UNROLL for (int r = 0; r < rows; r++)
                        if (r <= y && y < r + height) {
                            UNROLL for (int o = 0; o < block; o++) {
                                const vec w = broadcast(weight[(y - r) * block + o]);
                                UNROLL for (int v = 0; v < vectors; v++)
                                    acc[(o * rows + r) * vectors + v] += w * row[v];
                            }
                        }
                }
            }
    UNROLL for (int i = 0; i < SUMS; i++) sum[i] = acc[i];
}

#define ANY(BLOCK, VECTORS)                                                                                \
    static void block_##BLOCK##_##VECTORS(const Window *window, const float *x, const float *w, vec *sum) { \
        any_height(BLOCK, VECTORS, window, x, w, sum);                                                     \
    }
#define FIXED(BLOCK, VECTORS, HEIGHT)                                                                                  \
    static void block_##BLOCK##_##VECTORS##_##HEIGHT(const Window *window, const float *x, const float *w, vec *sum) { \
        fixed_height(BLOCK, VECTORS, HEIGHT, window, x, w, sum);                                                       \
    }
#define NARROW(BLOCK, VECTORS) \
    ANY(BLOCK, VECTORS) FIXED(BLOCK, VECTORS, 3) FIXED(BLOCK, VECTORS, 5) FIXED(BLOCK, VECTORS, 7) FIXED(BLOCK, VECTORS, 9)

#if MAX_BLOCK == 8
ANY(8, 1)
ANY(8, 2)
#endif
ANY(4, 1)
ANY(4, 2)
NARROW(2, 1)
NARROW(2, 2)
NARROW(1, 1)
NARROW(1, 2)

/* Output channels of a block: as many as divide a group's. */
static int64_t block_channels(int64_t channels) {
    int64_t block = MAX_BLOCK;
    while (channels % block) block /= 2;
    return block;
}

static RegisterBlock register_block(int64_t block, int64_t vectors, const Window *window) {
    static const RegisterBlock any[][2] = {
        {block_1_1, block_1_2},
        {block_2_1, block_2_2},
        {block_4_1, block_4_2},
#if MAX_BLOCK == 8
        {block_8_1, block_8_2},
#endif
    };
    static const RegisterBlock fixed[2][2][4] = {
        {{block_1_1_3, block_1_1_5, block_1_1_7, block_1_1_9}, {block_1_2_3, block_1_2_5, block_1_2_7, block_1_2_9}},
        {{block_2_1_3, block_2_1_5, block_2_1_7, block_2_1_9}, {block_2_2_3, block_2_2_5, block_2_2_7, block_2_2_9}},
    };
    const int64_t h = window->height;
    if (block < 4 && window->row_step == window->row && h % 2 && 3 <= h && h <= 9)
        return fixed[block - 1][vectors - 1][(h - 3) / 2];
    return any[__builtin_ctzll((uint64_t)block)][vectors - 1];
}

#endif
