/* The weight gradient of all levels: for each weight, the sum over the image of input times output gradient.
 *
 * A task owns the weights of some output and some input channels of one group, at one depth of the kernel. It walks over
 * the image in tiles, copies the tile of the output gradient and the window of each input channel to scratch memory
 * (zeros outside, so that borders, strides and odd widths cost no branch), and keeps a vector of partial sums for each
 * weight; the vectors run along the width. A weight is summed in the same order whatever the threads do. */
#ifndef PYCONV_WEIGHT_GRADIENT_H
#define PYCONV_WEIGHT_GRADIENT_H

#include "passes.h"

#define GRADIENT_WIDTH 128      /* of a tile */
#define GRADIENT_FLOATS 4096   /* of a tile of the output gradient, all output channels of a task: half of the L1 cache */

/* What a block reads, in scratch memory; the distances are in floats. */
typedef struct {
    int64_t rows, vectors;                   /* of the tile, rows with those that `rows` of a block add */
    int64_t gradient_channel, gradient_row;
    int64_t input_row, stride;
    int64_t column[MAX_KERNEL];              /* where the window starts for each tap along the width */
} GradientWindow;

/* input: the row of the block's first tap; gradient: the tile with taps_y - 1 rows of zeros above and below. */
typedef void (*RunGradientBlock)(const GradientWindow *window, const float *input, const float *gradient,
                                 const int64_t *column, vec *sum);

/* Without a stride the taps lie side by side, and the compiler may know it. */
INLINE void gradient_block(int out, int taps_y, int taps_x, int side_by_side, const GradientWindow *w, const float *input,
                           const float *gradient, const int64_t *column, vec *sum) {
#define INPUT(kx) (input + (side_by_side ? (kx) : column[kx]) + v * VL)
#define GRADIENT(i) \
    (gradient + (i) / taps_y * w->gradient_channel + (taps_y - 1 - (i) % taps_y) * w->gradient_row + v * VL)
    vec acc[REGISTERS];
    UNROLL for (int i = 0; i < out * taps_y * taps_x; i++) acc[i] = sum[i];
    for (int64_t y = 0; y < w->rows + taps_y - 1; y++, input += w->input_row, gradient += w->gradient_row)
        for (int64_t v = 0; v < w->vectors; v++) {
            /* The operands of which there are fewer stay in registers, the others pass by. */
            vec g[8], x[9];
            if (taps_x < out * taps_y) {
                UNROLL for (int kx = 0; kx < taps_x; kx++) x[kx] = load_once(INPUT(kx));
                UNROLL for (int i = 0; i < out * taps_y; i++) {
                    g[0] = load_once(GRADIENT(i));
                    UNROLL for (int kx = 0; kx < taps_x; kx++) acc[i * taps_x + kx] += x[kx] * g[0];
                }
            } else {
                UNROLL for (int i = 0; i < out * taps_y; i++) g[i] = load(GRADIENT(i));
                UNROLL for (int kx = 0; kx < taps_x; kx++) {
                    x[0] = load_once(INPUT(kx));
                    UNROLL for (int i = 0; i < out * taps_y; i++) acc[i * taps_x + kx] += x[0] * g[i];
                }
            }
        }
    UNROLL for (int i = 0; i < out * taps_y * taps_x; i++) sum[i] = acc[i];
#undef INPUT
#undef GRADIENT
}

typedef struct {
    int64_t out, taps_y, taps_x; /* output channels and taps whose sums a block keeps in registers */
    RunGradientBlock run;
} GradientBlock;

/* In order of preference; the first that divides a level's output channels and the width of its kernel is taken. */
#if REGISTERS == 32
#define GRADIENT_BLOCKS(_)                                                                        \
    _(1, 3, 9) _(1, 1, 9)                                       /* kernels a multiple of 9 wide */ \
    _(4, 1, 7) _(2, 1, 7) _(1, 4, 7) _(1, 1, 7)                            /* of 7 */                         \
    _(4, 1, 5) _(2, 2, 5) _(2, 1, 5) _(1, 5, 5) _(1, 1, 5)      /* of 5 */                         \
    _(8, 1, 3) _(4, 2, 3) _(4, 1, 3) _(2, 3, 3) _(2, 1, 3) _(1, 3, 3) _(1, 1, 3)                  \
    _(8, 1, 1) _(1, 1, 1)
#else
#define GRADIENT_BLOCKS(_)                                                                      \
    _(1, 1, 9) _(1, 1, 7) _(2, 1, 5) _(1, 2, 5) _(1, 1, 5)                                      \
    _(4, 1, 3) _(2, 2, 3) _(2, 1, 3) _(1, 3, 3) _(1, 1, 3) _(8, 1, 1) _(1, 1, 1)
#endif

#define DEFINE(OUT, Y, X)                                                                                      \
    static void gradient_##OUT##_##Y##_##X(const GradientWindow *w, const float *input, const float *gradient, \
                                           const int64_t *column, vec *sum) {                                  \
        if (w->stride == 1)                                                                                    \
            gradient_block(OUT, Y, X, 1, w, input + column[0], gradient, column, sum);                         \
        else                                                                                                   \
            gradient_block(OUT, Y, X, 0, w, input, gradient, column, sum);                                     \
    }
#define ENTRY(OUT, Y, X) {OUT, Y, X, gradient_##OUT##_##Y##_##X},
GRADIENT_BLOCKS(DEFINE)
static const GradientBlock gradient_blocks[] = {GRADIENT_BLOCKS(ENTRY)};

static const GradientBlock *choose_gradient_block(const LayerLevel *level, int64_t stride_y) {
    const GradientBlock *b = gradient_blocks;
    while (level->out_channels / level->groups % b->out || level->kernel[2] % b->taps_x ||
           (b->taps_y > 1 && (b->taps_y > level->kernel[1] || stride_y > 1)))
        b++;
    return b;
}

typedef struct {
    const Shape *shape;
    const LayerLevel *level;
    const float *x, *gradient;
    float *const *weight_gradient;
    int64_t levels, threads;
    int64_t first_task[MAX_LEVELS + 1];
} GradientPass;

/* One level's part of a pass, and the layout of a task's scratch: sums, output gradient, input. */
typedef struct {
    const GradientBlock *block;
    int64_t in, out, inputs;            /* channels of a group; input channels of a task */
    int64_t blocks_y, blocks_x;         /* register blocks along the kernel's height and width */
    int64_t height, width;              /* of a tile of the output */
    int64_t window_height, window_width; /* of a tile of the input */
    int64_t sums, gradient_floats, input_floats;
    int64_t phase;                      /* distance in floats between the columns' residues modulo the stride */
    GradientWindow window;
} GradientTiling;

static GradientTiling gradient_tiling(const Shape *s, const LayerLevel *l, int64_t threads) {
    GradientTiling t = {.block = choose_gradient_block(l, s->stride[1])};
    t.in = s->in_channels / l->groups;
    t.out = l->out_channels / l->groups;
    /* The more inputs share a copy of the output gradient the better, and the fewer tasks there are to share out. */
    t.inputs = min64(t.in, max64(threads > 4 ? 4 : 144 / (l->kernel[1] * l->kernel[2]), 4));
    t.blocks_y = ceil_div(l->kernel[1], t.block->taps_y);
    t.blocks_x = l->kernel[2] / t.block->taps_x;
    t.width = min64(GRADIENT_WIDTH, s->out_size[2]);
    t.window.vectors = ceil_div(t.width, VL);
    t.height = min64(max64(GRADIENT_FLOATS / (t.block->out * t.window.vectors * VL), 4), s->out_size[1]);
    t.window_height = (t.height - 1) * s->stride[1] + l->kernel[1] + t.block->taps_y - 1;
    t.window_width = (t.width - 1) * s->stride[2] + l->kernel[2];
    t.sums = t.inputs * t.blocks_y * t.blocks_x * t.block->out * t.block->taps_y * t.block->taps_x;
    t.window.rows = t.height;
    t.window.stride = s->stride[2];
    t.window.gradient_row = t.window.vectors * VL;
    t.window.gradient_channel = (t.height + 2 * (t.block->taps_y - 1)) * t.window.gradient_row;
    t.gradient_floats = t.block->out * t.window.gradient_channel;
    t.phase = ceil_div(t.window_width, s->stride[2]) + VL;
    t.window.input_row = t.phase * s->stride[2]; /* between rows of the input here; between those of the output below */
    t.input_floats = t.window_height * t.window.input_row + VL;
    for (int64_t kx = 0; kx < l->kernel[2]; kx++)
        t.window.column[kx] = kx % s->stride[2] * t.phase + kx / s->stride[2];
    return t;
}

static int64_t gradient_tasks(const GradientTiling *t, const LayerLevel *l) {
    return l->groups * (t->out / t->block->out) * ceil_div(t->in, t->inputs) * l->kernel[0];
}

static void gradient_task(void *context, void *scratch, int64_t index) {
    const GradientPass *p = context;
    const Shape *s = p->shape;
    int64_t i = 0, first_out = 0;
    while (index >= p->first_task[i + 1]) first_out += p->level[i++].out_channels;
    index -= p->first_task[i];
    const LayerLevel *l = p->level + i;
    const GradientTiling t = gradient_tiling(s, l, p->threads);
    const GradientBlock *b = t.block;

    const int64_t kz = index % l->kernel[0];
    index /= l->kernel[0];
    const int64_t in_begin = index % ceil_div(t.in, t.inputs) * t.inputs, in_end = min64(in_begin + t.inputs, t.in);
    index /= ceil_div(t.in, t.inputs);
    const int64_t out = index * b->out, group = out / t.out;

    vec *sums = scratch;
    float *gradient = (float *)(sums + t.sums), *input = gradient + t.gradient_floats;
    memset(sums, 0, (size_t)t.sums * sizeof(vec));
    GradientWindow window = t.window;
    window.input_row *= s->stride[1];
    const int64_t in_plane = s->in_size[1] * s->in_size[2], out_plane = s->out_size[1] * s->out_size[2];
    const int64_t block_sums = b->out * b->taps_y * b->taps_x, above = b->taps_y - 1;
    memset(input, 0, (size_t)t.input_floats * sizeof(float));

    for (int64_t n = 0; n < s->batch; n++)
        for (int64_t z = 0; z < s->out_size[0]; z++) {
            const int64_t in_z = z * s->stride[0] + kz - l->kernel[0] / 2;
            if (in_z < 0 || in_z >= s->in_size[0]) continue;
            for (int64_t y = 0; y < s->out_size[1]; y += t.height)
                for (int64_t x = 0; x < s->out_size[2]; x += t.width) {
                    const int64_t height = min64(t.height, s->out_size[1] - y);
                    for (int64_t o = 0; o < b->out; o++) {
                        const int64_t channel = n * s->out_channels + first_out + out + o;
                        float *to = gradient + o * window.gradient_channel;
                        const int64_t guard = above * window.gradient_row;
                        memset(to, 0, (size_t)guard * sizeof(float));
                        copy_rows(to + guard, p->gradient + (channel * s->out_size[0] + z) * out_plane, y + height,
                                  s->out_size[2], y, x, t.height + above, t.width, window.gradient_row, 1, 0);
                    }
                    window.rows = height;
                    for (int64_t c = in_begin; c < in_end; c++) {
                        const int64_t channel = n * s->in_channels + group * t.in + c;
                        copy_rows(input, p->x + (channel * s->in_size[0] + in_z) * in_plane, s->in_size[1],
                                  s->in_size[2], y * s->stride[1] - l->kernel[1] / 2,
                                  x * s->stride[2] - l->kernel[2] / 2, t.window_height, t.window_width,
                                  t.window.input_row, s->stride[2], t.phase);
                        vec *sum = sums + (c - in_begin) * t.blocks_y * t.blocks_x * block_sums;
                        for (int64_t by = 0; by < t.blocks_y; by++) {
                            const int64_t ky = min64(by * b->taps_y, l->kernel[1] - b->taps_y);
                            for (int64_t bx = 0; bx < t.blocks_x; bx++, sum += block_sums)
                                b->run(&window, input + ky * t.window.input_row, gradient,
                                       window.column + bx * b->taps_x, sum);
                        }
                    }
                }
        }

    const vec *sum = sums;
    for (int64_t c = in_begin; c < in_end; c++)
        for (int64_t by = 0; by < t.blocks_y; by++)
            for (int64_t bx = 0; bx < t.blocks_x; bx++)
                for (int64_t o = 0; o < b->out; o++)
                    for (int64_t ty = 0; ty < b->taps_y; ty++)
                        for (int64_t tx = 0; tx < b->taps_x; tx++, sum++) {
                            const int64_t ky = min64(by * b->taps_y, l->kernel[1] - b->taps_y) + ty;
                            float total = 0;
                            for (int lane = 0; lane < VL; lane++) total += (*sum)[lane];
                            p->weight_gradient[i][((((out + o) * t.in + c) * l->kernel[0] + kz) * l->kernel[1] + ky) *
                                                      l->kernel[2] + bx * b->taps_x + tx] = total;
                        }
}

static int weight_gradient(const Shape *shape, int64_t levels, const LayerLevel *level, const float *x,
                           const float *gradient, float *const *to, int64_t threads) {
    GradientPass p = {.shape = shape, .level = level, .x = x, .gradient = gradient, .weight_gradient = to,
                      .levels = levels, .threads = threads};
    int64_t bytes = 0;
    for (int64_t i = 0; i < levels; i++) {
        const GradientTiling t = gradient_tiling(shape, level + i, threads);
        p.first_task[i + 1] = p.first_task[i] + gradient_tasks(&t, level + i);
        bytes = max64(bytes, t.sums * (int64_t)sizeof(vec) + (t.gradient_floats + t.input_floats) * 4);
    }
    return run_tasks(gradient_task, &p, p.first_task[levels], bytes, threads);
}

#endif
