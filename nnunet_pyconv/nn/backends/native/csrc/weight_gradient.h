/* The weight gradient of all levels: for each weight, the sum over the image of input times output gradient.
 *
 * A task owns the weights of some input channels, of all levels, at one distance of the input's plane from the
 * output's. For each tile of the image it copies the windows of its channels to scratch memory (zeros outside, so that
 * borders, strides and odd widths cost no branch), then in turn the output gradients of each register block, and adds
 * their products to one vector of partial sums a weight. The vectors run along the width; where that is narrow, several
 * planes alternate in them. A weight is summed in the same order whatever the threads do. */
#ifndef PYCONV_WEIGHT_GRADIENT_H
#define PYCONV_WEIGHT_GRADIENT_H

#include "passes.h"

#define GRADIENT_WIDTH 128 /* of a tile */
#define GRADIENT_HEIGHT 32
#define GRADIENT_FLOATS 4096 /* of the output gradient at a time: a third to a half of the L1 cache */

/* What a block reads, in scratch memory; the distances are in floats. */
typedef struct {
    int64_t rows, vectors; /* of the gradient's tile; a block runs over taps_y - 1 rows more */
    int64_t gradient_channel, gradient_row;
    int64_t input_row;
    int64_t column[MAX_KERNEL]; /* where the window starts for each tap along the width */
    int side_by_side;           /* whether these are neighbours */
} GradientWindow;

/* input: the row of the block's first tap; gradient: the tile with taps_y - 1 rows of zeros above and below. */
typedef void (*RunGradientBlock)(const GradientWindow *window, const float *input, const float *gradient,
                                 const int64_t *column, vec *sum);

/* Without stride and packing the taps lie side by side, and the compiler may know it. */
INLINE void gradient_block(int out, int taps_y, int taps_x, int side_by_side, const GradientWindow *w,
                           const float *input, const float *gradient, const int64_t *column, vec *sum) {
#define INPUT(kx) (input + (side_by_side ? (kx) : column[kx]) + v * VL)
#define GRADIENT(i) \
    (gradient + (i) / taps_y * w->gradient_channel + (taps_y - 1 - (i) % taps_y) * w->gradient_row + v * VL)
    vec acc[REGISTERS];
    UNROLL
    for (int i = 0; i < out * taps_y * taps_x; i++) acc[i] = sum[i];
    for (int64_t y = 0; y < w->rows + taps_y - 1; y++, input += w->input_row, gradient += w->gradient_row)
        for (int64_t v = 0; v < w->vectors; v++) {
            /* The operands of which there are fewer stay in registers, the others pass by. */
            vec g[8], x[9];
            if (taps_x < out * taps_y) {
                UNROLL
                for (int kx = 0; kx < taps_x; kx++) x[kx] = load_once(INPUT(kx));
                UNROLL
                for (int i = 0; i < out * taps_y; i++) {
                    g[0] = load_once(GRADIENT(i));
                    UNROLL
                    for (int kx = 0; kx < taps_x; kx++) acc[i * taps_x + kx] += x[kx] * g[0];
                }
            } else {
                UNROLL
                for (int i = 0; i < out * taps_y; i++) g[i] = load(GRADIENT(i));
                UNROLL
                for (int kx = 0; kx < taps_x; kx++) {
                    x[0] = load_once(INPUT(kx));
                    UNROLL
                    for (int i = 0; i < out * taps_y; i++) acc[i * taps_x + kx] += x[0] * g[i];
                }
            }
        }
    UNROLL
    for (int i = 0; i < out * taps_y * taps_x; i++) sum[i] = acc[i];
#undef INPUT
#undef GRADIENT
}

typedef struct {
    int64_t out, taps_y, taps_x; /* output channels and taps whose sums a block keeps in registers */
    RunGradientBlock run;
} GradientBlock;

/* clang-format off */
/* In order of preference; the first that suits is taken, see choose_gradient_block. */
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
/* clang-format on */

#define DEFINE(OUT, Y, X)                                                                                      \
    static void gradient_##OUT##_##Y##_##X(const GradientWindow *w, const float *input, const float *gradient, \
                                           const int64_t *column, vec *sum) {                                  \
        if (w->side_by_side)                                                                                   \
            gradient_block(OUT, Y, X, 1, w, input + column[0], gradient, column, sum);                         \
        else                                                                                                   \
            gradient_block(OUT, Y, X, 0, w, input, gradient, column, sum);                                     \
    }
#define ENTRY(OUT, Y, X) {OUT, Y, X, gradient_##OUT##_##Y##_##X},
GRADIENT_BLOCKS(DEFINE)
static const GradientBlock gradient_blocks[] = {GRADIENT_BLOCKS(ENTRY)};

static const GradientBlock *choose_gradient_block(const Level *level, int64_t left, int64_t stride_y) {
    const GradientBlock *b = gradient_blocks;
    while (b->out > left || level->kernel[2] % b->taps_x ||
           (b->taps_y > 1 && (b->taps_y > level->kernel[1] || stride_y > 1 || level->dilation[1] > 1)))
        b++;
    return b;
}

/* Output channels of each group of a level that share a kind of register block. */
typedef struct {
    const GradientBlock *block;
    int64_t kernel[3], dilation[3];
    int64_t first_in, last_in, in;  /* input channels [first_in, last_in), so many a group */
    int64_t out, first_out;         /* of these output channels: in a group, and the first one in the first group */
    int64_t group_out, group_first; /* output channels of a group, and the first of these among them */
    int64_t blocks_y, blocks_x;     /* register blocks along the kernel's height and width */
    int64_t rows;                   /* of the output gradient that a block runs over */
    int64_t sums;                   /* of one input channel */
    float *gradient;                /* of the weights */
} GradientPart;

#define MAX_PARTS 4 /* of a level: blocks of 8, 4, 2 and 1 channels */

typedef struct {
    const Shape *shape;
    const float *x, *gradient;
    int64_t parts;
    GradientPart part[MAX_LEVELS * MAX_PARTS];
    int64_t inputs, sums;                    /* channels of a task, and the sums of one */
    int64_t reach[3];                        /* of the largest kernel, from its centre */
    int64_t height, width;                   /* of a tile of the output */
    int64_t window_height, window_width;     /* of a tile of the input */
    int64_t pack;                            /* planes whose elements alternate, so that a row fills a vector */
    int64_t phase, input_row, input_channel; /* the window is [channel][y][x % stride][x / stride][plane]; in floats */
    int64_t gradient_floats;
} GradientPass;

static void lay_out_gradient(GradientPass *p, int64_t levels, const Level *level, float *const *to, int64_t threads) {
    const Shape *s = p->shape;
    p->width = min64(GRADIENT_WIDTH, s->out_size[2]);
    p->height = min64(GRADIENT_HEIGHT, s->out_size[1]);
    p->pack = choose_pack(p->width, p->width == s->out_size[2] ? s->batch * s->out_size[0] : 1);
    const int64_t row = ceil_div(p->width * p->pack, VL) * VL;
    for (int64_t i = 0, first_out = 0; i < levels; first_out += level[i++].out_channels) {
        const int64_t out = level[i].out_channels / level[i].groups;
        for (int64_t begin = 0; begin < out;) {
            const GradientBlock *b = choose_gradient_block(level + i, out - begin, s->stride[1]);
            GradientPart *l = p->part + p->parts++;
            *l = (GradientPart){.block = b,
                                .first_in = level[i].first_in,
                                .last_in = level[i].first_in + level[i].in_channels,
                                .in = level[i].in_channels / level[i].groups,
                                .out = (out - begin) / b->out * b->out,
                                .first_out = first_out + begin,
                                .group_out = out,
                                .group_first = begin,
                                .gradient = to[i]};
            begin += l->out;
            for (int a = 0; a < 3; a++) {
                l->kernel[a] = level[i].kernel[a];
                l->dilation[a] = level[i].dilation[a];
                p->reach[a] = max64(p->reach[a], l->kernel[a] / 2 * l->dilation[a]);
            }
            l->blocks_y = ceil_div(l->kernel[1], b->taps_y);
            l->blocks_x = l->kernel[2] / b->taps_x;
            l->rows = min64(max64(GRADIENT_FLOATS / (b->out * row), 4), p->height);
            l->sums = l->out * l->blocks_y * b->taps_y * l->kernel[2];
            p->sums += l->sums;
            p->gradient_floats = max64(p->gradient_floats, b->out * (l->rows + 2 * (b->taps_y - 1)) * row);
        }
    }
    p->window_height = (p->height - 1) * s->stride[1] + 2 * p->reach[1] + 1;
    p->window_width = (p->width - 1) * s->stride[2] + 2 * p->reach[2] + 1;
    p->phase = ceil_div(p->window_width, s->stride[2]) * p->pack + VL;
    p->input_row = p->phase * s->stride[2];
    p->input_channel = p->window_height * p->input_row;
    /* The more inputs share a copy of the output gradient the better, and the fewer tasks there are to share out. */
    p->inputs = 32;
    while (p->inputs > 1 &&
           (p->inputs * (p->sums * VL + p->input_channel) > SCRATCH_FLOATS || p->inputs * threads * 2 > s->in_channels))
        p->inputs /= 2;
}

/* Add what one tile of `pack` planes gives to the sums of input channels [begin, end). input: their windows; plane:
 * those of the output gradient's first channel. */
static void gradient_tile(const GradientPass *p, const GradientPart *l, int64_t begin, int64_t end, const float *input,
                          const float *const *plane, int64_t y, int64_t x, float *scratch, vec *sums) {
    const Shape *s = p->shape;
    const GradientBlock *b = l->block;
    const int64_t guard = b->taps_y - 1, block_sums = b->out * b->taps_y * b->taps_x;
    const int64_t channel_size = s->out_size[0] * s->out_size[1] * s->out_size[2];
    GradientWindow window = {.vectors = ceil_div(p->width * p->pack, VL),
                             .input_row = p->input_row * s->stride[1],
                             .side_by_side = s->stride[2] == 1 && p->pack == 1 && l->dilation[2] == 1};
    window.gradient_row = window.vectors * VL;
    window.gradient_channel = (l->rows + 2 * guard) * window.gradient_row;
    for (int64_t kx = 0; kx < l->kernel[2]; kx++) {
        const int64_t column = p->reach[2] + (kx - l->kernel[2] / 2) * l->dilation[2];
        window.column[kx] = column % s->stride[2] * p->phase + column / s->stride[2] * p->pack;
    }
    const int64_t bottom = min64(y + p->height, s->out_size[1]);
    const int64_t skipped = max64(begin - l->first_in, 0) / l->in; /* groups */
    for (int64_t group = skipped, first; (first = l->first_in + group * l->in) < min64(end, l->last_in); group++) {
        const int64_t from = max64(first, begin), to = min64(first + l->in, end);
        for (int64_t o = 0; o < l->out; o += b->out)
            for (int64_t row = y; row < bottom; row += l->rows) {
                window.rows = min64(l->rows, bottom - row);
                for (int64_t i = 0; i < b->out; i++) {
                    const int64_t channel = l->first_out + group * l->group_out + o + i;
                    float *rows = scratch + i * window.gradient_channel;
                    clear_floats(rows, guard * window.gradient_row);
                    for (int64_t k = 0; k < p->pack; k++)
                        copy_rows(rows + guard * window.gradient_row + k,
                                  plane[k] ? plane[k] + channel * channel_size : NULL, row + window.rows,
                                  s->out_size[2], row, x, window.rows + guard, p->width, window.gradient_row, 1, 0,
                                  p->pack);
                }
                for (int64_t c = from; c < to; c++) {
                    const float *channel =
                        input + (c - begin) * p->input_channel +
                        ((row - y) * s->stride[1] + p->reach[1] - l->kernel[1] / 2 * l->dilation[1]) * p->input_row;
                    vec *sum = sums + (c - begin) * l->sums + o / b->out * (l->sums / (l->out / b->out));
                    for (int64_t by = 0; by < l->blocks_y; by++) {
                        const int64_t ky = min64(by * b->taps_y, l->kernel[1] - b->taps_y);
                        for (int64_t bx = 0; bx < l->blocks_x; bx++, sum += block_sums)
                            b->run(&window, channel + ky * l->dilation[1] * p->input_row, scratch,
                                   window.column + bx * b->taps_x, sum);
                    }
                }
            }
    }
}

/* Write the weights' gradients of input channels [begin, end) at depth kz of the kernel. */
static void write_gradient(const GradientPart *l, int64_t begin, int64_t end, int64_t kz, const vec *sum) {
    const GradientBlock *b = l->block;
    const int64_t plane = l->kernel[1] * l->kernel[2], input = l->kernel[0] * plane;
    sum += (max64(begin, l->first_in) - begin) * l->sums;
    for (int64_t c = max64(begin, l->first_in) - l->first_in; c < min64(end, l->last_in) - l->first_in; c++)
        for (int64_t o = 0; o < l->out; o += b->out)
            for (int64_t by = 0; by < l->blocks_y; by++)
                for (int64_t bx = 0; bx < l->blocks_x; bx++)
                    for (int64_t i = 0; i < b->out; i++) {
                        const int64_t out = c / l->in * l->group_out + l->group_first + o + i;
                        float *to = l->gradient + (out * l->in + c % l->in) * input + kz * plane + bx * b->taps_x +
                                    min64(by * b->taps_y, l->kernel[1] - b->taps_y) * l->kernel[2];
                        for (int64_t y = 0; y < b->taps_y; y++, to += l->kernel[2])
                            for (int64_t x = 0; x < b->taps_x; x++) to[x] = sum_lanes(*sum++);
                    }
}

/* Whether one plane of the kernel is so far from its middle. */
static int has_plane(const GradientPart *l, int64_t offset) {
    return offset % l->dilation[0] == 0 && labs(offset) <= l->kernel[0] / 2 * l->dilation[0];
}

static void gradient_task(void *context, void *scratch, int64_t index) {
    const GradientPass *p = context;
    const Shape *s = p->shape;
    const int64_t offset = index % (2 * p->reach[0] + 1) - p->reach[0]; /* of the input's plane from the output's */
    const int64_t begin = index / (2 * p->reach[0] + 1) * p->inputs, end = min64(begin + p->inputs, s->in_channels);
    const int64_t in_plane = s->in_size[1] * s->in_size[2], out_plane = s->out_size[1] * s->out_size[2];

    vec *sums = scratch;
    float *gradient = (float *)(sums + p->inputs * p->sums), *input = gradient + p->gradient_floats;
    clear_floats(scratch, (end - begin) * p->sums * VL);
    for (int64_t place = 0; place < s->batch * s->out_size[0];) {
        const float *x_plane[MAX_PACK] = {NULL}, *gradient_plane[MAX_PACK] = {NULL}; /* of the first channel */
        for (int64_t k = 0; k < p->pack && place < s->batch * s->out_size[0]; place++) {
            const int64_t n = place / s->out_size[0], z = place % s->out_size[0], in_z = z * s->stride[0] + offset;
            if (in_z < 0 || in_z >= s->in_size[0]) continue;
            x_plane[k] = p->x + (n * s->in_channels * s->in_size[0] + in_z) * in_plane;
            gradient_plane[k++] = p->gradient + (n * s->out_channels * s->out_size[0] + z) * out_plane;
        }
        if (!x_plane[0]) break;
        for (int64_t y = 0; y < s->out_size[1]; y += p->height)
            for (int64_t x = 0; x < s->out_size[2]; x += p->width) {
                for (int64_t c = begin; c < end; c++)
                    for (int64_t k = 0; k < p->pack; k++)
                        copy_rows(input + (c - begin) * p->input_channel + k,
                                  x_plane[k] ? x_plane[k] + c * s->in_size[0] * in_plane : NULL, s->in_size[1],
                                  s->in_size[2], y * s->stride[1] - p->reach[1], x * s->stride[2] - p->reach[2],
                                  p->window_height, p->window_width, p->input_row, s->stride[2], p->phase, p->pack);
                vec *sum = sums;
                for (const GradientPart *l = p->part; l < p->part + p->parts; sum += (end - begin) * l++->sums)
                    if (has_plane(l, offset))
                        gradient_tile(p, l, begin, end, input, gradient_plane, y, x, gradient, sum);
            }
    }
    for (const GradientPart *l = p->part; l < p->part + p->parts; sums += (end - begin) * l++->sums)
        if (has_plane(l, offset)) write_gradient(l, begin, end, l->kernel[0] / 2 + offset / l->dilation[0], sums);
}

static int weight_gradient(const Shape *shape, int64_t levels, const Level *level, const float *x,
                           const float *gradient, float *const *to, int64_t threads) {
    GradientPass p = {.shape = shape, .x = x, .gradient = gradient};
    lay_out_gradient(&p, levels, level, to, threads);
    const int64_t floats = p.inputs * (p.sums * VL + p.input_channel) + p.gradient_floats + 2 * VL;
    const int64_t tasks = ceil_div(shape->in_channels, p.inputs) * (2 * p.reach[0] + 1);
    return run_tasks(gradient_task, &p, tasks, floats * (int64_t)sizeof(float), threads);
}

#endif
