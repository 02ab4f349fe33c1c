/* All levels of a pyramid in one pass over the image; the output and the input gradient are both such passes.
 *
 * A task copies a tile of the image, with the halo of the largest kernel, to scratch memory, so that borders, strides
 * and odd widths are settled there once; then the levels convolve that tile. The vectors run along the width, hence a
 * group with one channel is as fast as any other. Where its rows fill their vectors badly, a task takes tiles of
 * several images or depths at once, whose elements alternate in its scratch memory. */
#ifndef PYCONV_CONVOLVE_H
#define PYCONV_CONVOLVE_H

#include "copy.h"
#include "parallel.h"
#include "register_blocks.h"

#define MAX_LEVELS 16
#define L1_FLOATS 6000        /* of input that a register block may walk over again and again */
#define MAX_PACK 4            /* tiles of a task at most */
#define SCRATCH_FLOATS 320000 /* of a task for all levels at most: about a second-level cache of 1 to 2 MiB */

typedef struct {
    int64_t kernel[3], dilation[3], pad[3]; /* depth, height, width; pad is that before the first element */
    int64_t groups, in, out;                /* channels of one group */
    int64_t first_in, first_out;
    int add;             /* to what earlier levels gave for the same channels, where levels add up */
    const float *weight; /* [group][block][in][kz][kx][ky][output channel of the block], see block_channels */
    const float *bias;   /* [groups * out], or NULL */
} PassLevel;

typedef struct {
    const float *x;
    float *y;
    int64_t batch, in_channels, out_channels;
    int64_t in_size[3], out_size[3];
    int64_t x_channel, x_plane; /* distances in x, in floats */
    int64_t stride[3];          /* of the window over x */
    int64_t first[3], step[3];  /* the pass computes the elements first, first + step, ... of y along each axis, */
    int64_t count[3];           /* so many of them */
    int add_levels;             /* levels may add up in the same channels, instead of each having its own */
    int64_t levels;
    PassLevel level[MAX_LEVELS];
} Pass;

/* How levels [begin, end) of a pass are cut into tasks. A task takes tiles and all groups, or, where all channels of
 * the tiles would not fit in the cache or the tasks would be too few, tiles and one group of one level. */
typedef struct {
    const Pass *pass;
    int64_t begin, end;
    int64_t groups;            /* tasks a tile */
    int64_t pack;              /* tiles a task */
    int64_t channels;          /* that a task copies */
    int64_t tile[3], tiles[3]; /* size and number along each axis */
    int64_t pad[3], window[3]; /* of the copy, in elements of x */
    /* distances in scratch memory, [channel][z][y][x % stride][x / stride][tile], in floats */
    int64_t phase, row, plane, channel;
    int64_t sum_row, sum_plane, sum_channel; /* of the sums over the levels, where these add up */
} Tiling;

/* The tiles of a task: the same part of the plane, of several images or depths. */
typedef struct {
    int64_t count; /* `pack`, or less at the end */
    int64_t image[MAX_PACK];
    int64_t start[MAX_PACK], extent[MAX_PACK]; /* of the outputs along the depth */
    int64_t y[MAX_PACK];                       /* from the first tile's first output to this one's, in floats */
} Places;

/* Elements of the window that a level's kernel reaches along an axis; none if it has no taps. */
static int64_t reach(const PassLevel *l, int axis) {
    return l->kernel[axis] ? (l->kernel[axis] - 1) * l->dilation[axis] + 1 : 0;
}

/* Output rows so far apart have their taps in the same rows of the input, so a register block takes them together. */
static int64_t row_distance(const PassLevel *l, int64_t stride) {
    int64_t divisor = l->dilation[1], rest = stride;
    while (rest) {
        const int64_t next = divisor % rest;
        divisor = rest;
        rest = next;
    }
    return l->dilation[1] / divisor;
}

/* Register blocks of `rows` rows run over a tile's rows up to this one. */
static int64_t covered_rows(int64_t height, int64_t rows, int64_t distance) {
    int64_t covered = height;
    for (int64_t first = 0; first < min64(distance, height); first++)
        covered =
            max64(covered, first + distance * (ceil_div(ceil_div(height - first, distance), rows) * rows - 1) + 1);
    return covered;
}

/* Lay out tiles of at most `depth` x `height` x `width` outputs; returns the size of the scratch in floats. */
static int64_t lay_out(Tiling *t, int64_t depth, int64_t height, int64_t width) {
    const Pass *p = t->pass;
    const int64_t most[3] = {depth, height, width};
    for (int a = 0; a < 3; a++) {
        int64_t farthest = 0;
        t->pad[a] = INT64_MIN;
        for (int64_t l = t->begin; l < t->end; l++) t->pad[a] = max64(t->pad[a], p->level[l].pad[a]);
        for (int64_t l = t->begin; l < t->end; l++)
            farthest = max64(farthest, t->pad[a] - p->level[l].pad[a] + reach(p->level + l, a));
        t->tile[a] = min64(most[a], p->count[a]);
        t->tiles[a] = ceil_div(p->count[a], t->tile[a]);
        t->window[a] = (t->tile[a] - 1) * p->stride[a] + farthest;
    }
    /* The last register block of a row or column may run past the tile. */
    const int64_t lanes = t->tile[2] * t->pack, spare_lanes = ceil_div(lanes, VL) * VL - lanes;
    int64_t spare_rows = 0;
    for (int64_t l = t->begin; l < t->end; l++)
        for (int64_t out = 0, block; out < p->level[l].out; out += block) {
            const int64_t distance = row_distance(p->level + l, p->stride[1]);
            block = block_channels(p->level[l].out - out);
            for (int64_t rows = SUMS / block; rows >= SUMS / block / 2; rows /= 2)
                spare_rows = max64(spare_rows, covered_rows(t->tile[1], rows, distance) - t->tile[1]);
        }
    t->phase = ceil_div(t->window[2], p->stride[2]) * t->pack + spare_lanes;
    t->row = t->phase * p->stride[2];
    t->row += t->row % 16 ? 0 : 4; /* rows a power of two apart would share a few sets of the cache */
    t->plane = t->row * (t->window[1] + spare_rows * p->stride[1]);
    t->channel = t->plane * t->window[0];
    t->sum_row = lanes + spare_lanes;
    t->sum_plane = t->sum_row * (t->tile[1] + spare_rows);
    t->sum_channel = t->sum_plane * t->tile[0];
    const int64_t out = t->groups == 1 ? p->out_channels : p->level[t->begin].out;
    return t->channel * t->channels + 2 * VL + (p->add_levels ? out * t->sum_channel : 0);
}

/* Copy the windows of the places, from row y and column x of their image on, with zeros outside of it. */
static void copy_windows(const Tiling *t, const Places *places, int64_t first_channel, float *scratch, int64_t y,
                         int64_t x) {
    const Pass *p = t->pass;
    const int64_t *size = p->in_size;
    for (int64_t c = 0; c < t->channels; c++)
        for (int64_t z = 0; z < t->window[0]; z++)
            for (int64_t i = 0; i < t->pack; i++) {
                const int64_t iz = places->start[i] * p->stride[0] - t->pad[0] + z;
                const int64_t channel = places->image[i] * p->in_channels + first_channel + c;
                copy_rows(scratch + c * t->channel + z * t->plane + i,
                          i >= places->count || iz < 0 || iz >= size[0]
                              ? NULL
                              : p->x + channel * p->x_channel + iz * p->x_plane,
                          size[1], size[2], y, x, t->window[1], t->window[2], t->row, p->stride[2], t->phase, t->pack);
            }
}

/* Write rows of outputs to y: element i, at from[i * pack], goes to y[i * step[2]]. `columns` are left in y's row. */
static void write_rows(const Pass *p, float *y, int64_t y_row, const float *from, int64_t from_row, int64_t pack,
                       int64_t height, int64_t width, int64_t columns, int add) {
    const int64_t step = p->step[2];
    for (int64_t r = 0; r < height; r++, y += y_row, from += from_row) {
        int64_t i = 0;
        if (pack == 1 && step == 1)
            for (; i + VL <= width; i += VL) store(y + i, add ? load(y + i) + load(from + i) : load(from + i));
        else if (pack == 1 && step == 2 && p->first[2])
            for (; i + VL <= width; i += VL) store_every_second(y + 2 * i - 1, load(from + i), 1, add);
        else if (pack == 1 && step == 2)
            for (; i + VL <= width && 2 * (i + VL) <= columns; i += VL)
                store_every_second(y + 2 * i, load(from + i), 0, add);
        for (; i < width; i++) y[i * step] = (add ? y[i * step] : 0) + from[i * pack];
    }
}

/* Read rows that write_rows has written back to their places in the sums. */
static void read_rows(const Pass *p, float *sums, int64_t sum_row, int64_t pack, const float *y, int64_t y_row,
                      int64_t height, int64_t width) {
    for (int64_t r = 0; r < height; r++, sums += sum_row, y += y_row)
        for (int64_t i = 0; i < width; i++) sums[i * pack] = y[i * p->step[2]];
}

/* Convolve one group of one level to its output channels [begin, end), in register blocks of `block` channels. input:
 * the places' windows of that group; tile: for the first output channel of the group, with `room` the sums of all
 * places, whose spare lanes and rows blocks may run over, otherwise the first place's tile in y; `plane` floats a
 * plane. All these channels are computed before the next block of the image, and with no more input channels at a time
 * than the first-level cache holds there. */
static void convolve_channels(const Tiling *t, const PassLevel *l, int64_t group, int64_t block, int64_t begin,
                              int64_t end, const Places *places, const float *input, const Target *tile, int64_t plane,
                              int room, const int64_t extent[3]) {
    const Pass *p = t->pass;
    const int64_t taps = l->kernel[0] * l->kernel[1] * l->kernel[2], lanes = extent[2] * t->pack;
    const int64_t distance = row_distance(l, p->stride[1]), input_row = t->row * p->stride[1];
    Window window = {.height = l->kernel[1],
                     .width = l->kernel[2],
                     .channel = t->channel,
                     .plane = t->plane * l->dilation[0],
                     .row = t->row * l->dilation[1],
                     .row_step = input_row * distance};
    for (int64_t kx = 0; kx < l->kernel[2]; kx++) {
        const int64_t column = t->pad[2] - l->pad[2] + kx * l->dilation[2];
        window.column[kx] = column % p->stride[2] * t->phase + column / p->stride[2] * t->pack;
    }
    input += (t->pad[0] - l->pad[0]) * t->plane + (t->pad[1] - l->pad[1]) * t->row;
    /* for blocks of two vectors, so that the order of a sum, and with it the result, is that of any packing */
    const int64_t channel_floats =
        max64(l->kernel[0], 1) * (SUMS / block / 2 + l->kernel[1]) * (2 * VL + reach(l, 2) + 16);
    const int64_t chunk = min64(l->in, max64(L1_FLOATS / channel_floats, 8));
    float edge_sums[SUMS * VL];
    Target to = *tile, edge = {.y = edge_sums};
    to.row = tile->row * distance;
    for (int64_t z = 0; z < extent[0]; z++) {
        /* planes [first, last) of the kernel see the image */
        int64_t first = l->kernel[0], last = 0;
        for (int64_t i = 0; i < places->count; i++) {
            const int64_t iz = (places->start[i] + z) * p->stride[0] - l->pad[0];
            first = min64(first, ceil_div(max64(-iz, 0), l->dilation[0]));
            last = max64(last, min64(ceil_div(max64(p->in_size[0] - iz, 0), l->dilation[0]), l->kernel[0]));
        }
        window.depth = max64(last - first, 0);
        window.left_out = (l->kernel[0] - window.depth) * l->kernel[1] * l->kernel[2];
        const float *planes = input + (z * p->stride[0] + first * l->dilation[0]) * t->plane;
        const float *weight = l->weight + first * l->kernel[1] * l->kernel[2] * block;
        for (int64_t x = 0, vectors; x < lanes; x += vectors * VL) {
            vectors = lanes - x > VL ? 2 : 1;
            const int64_t rows = SUMS / block / vectors, width = min64(vectors * VL, lanes - x);
            const RegisterBlock run = choose_register_block(block, vectors, &window);
            edge.row = vectors * VL;
            edge.channel = rows * edge.row;
            for (int64_t start = 0; start < min64(distance, extent[1]); start++)
                for (int64_t row = start; row < extent[1]; row += rows * distance) {
                    const int64_t height = min64(rows, ceil_div(extent[1] - row, distance));
                    const int inside = room || (t->pack == 1 && height == rows && width == vectors * VL);
                    for (int64_t in = 0; in < l->in; in += chunk) {
                        window.channels = min64(chunk, l->in - in);
                        const float *from = planes + in * t->channel + row * input_row + x;
                        to.add = tile->add || in > 0;
                        for (int64_t out = begin; out < end; out += block) {
                            const int64_t channel = group * l->out + out;
                            to.y = tile->y + out * to.channel + z * plane + row * tile->row + (room ? x : x / t->pack);
                            to.bias = edge.bias = l->bias && in == 0 ? l->bias + channel : NULL;
                            run(&window, from, weight + (channel * l->in + in * block) * taps, inside ? &to : &edge);
                            for (int64_t i = 0; !inside && i < places->count; i++)
                                for (int64_t o = 0; z < places->extent[i] && o < block; o++)
                                    write_rows(p, to.y + places->y[i] + o * to.channel, to.row,
                                               edge_sums + o * edge.channel + i, edge.row, t->pack, height,
                                               width / t->pack, 0, to.add);
                        }
                    }
                }
        }
    }
}

static void convolve_group(const Tiling *t, const PassLevel *l, int64_t group, const Places *places, const float *input,
                           const Target *tile, int64_t plane, int room, const int64_t extent[3]) {
    for (int64_t begin = 0, end; begin < l->out; begin = end) {
        const int64_t left = l->out - begin, block = block_channels(left);
        end = begin + left / block * block;
        convolve_channels(t, l, group, block, begin, end, places, input, tile, plane, room, extent);
    }
}

static void convolve_task(void *context, void *scratch, int64_t index) {
    const Tiling *t = context;
    const Pass *p = t->pass;
    const int64_t task_group = index % t->groups;
    index /= t->groups;
    int64_t start[3], extent[3];
    for (int a = 2; a >= 1; a--) {
        start[a] = index % t->tiles[a] * t->tile[a];
        index /= t->tiles[a];
        extent[a] = min64(t->tile[a], p->count[a] - start[a]);
    }
    const int64_t channel = p->out_size[0] * p->out_size[1] * p->out_size[2], plane = p->out_size[1] * p->out_size[2];
    float *y = p->y + (p->first[1] + p->step[1] * start[1]) * p->out_size[2] + p->first[2] + p->step[2] * start[2];
    Places places = {.count = min64(t->pack, p->batch * t->tiles[0] - index * t->pack)};
    extent[0] = 0;
    for (int64_t i = 0; i < places.count; i++) {
        const int64_t place = index * t->pack + i;
        places.image[i] = place % p->batch;
        places.start[i] = place / p->batch * t->tile[0];
        places.extent[i] = min64(t->tile[0], p->count[0] - places.start[i]);
        places.y[i] =
            places.image[i] * p->out_channels * channel + (p->first[0] + p->step[0] * places.start[i]) * plane;
        extent[0] = max64(extent[0], places.extent[i]);
    }
    y += places.y[0];
    for (int64_t i = places.count - 1; i >= 0; i--) places.y[i] -= places.y[0];

    const int one_group = t->channels < p->in_channels;
    const PassLevel *level = p->level + t->begin;
    const int64_t first = one_group ? level->first_in + task_group * level->in : 0;
    copy_windows(t, &places, first, scratch, start[1] * p->stride[1] - t->pad[1], start[2] * p->stride[2] - t->pad[2]);
    float *sums = (float *)scratch + t->channels * t->channel + 2 * VL;
    const int64_t first_group = one_group ? task_group : 0, out = one_group ? level->out : p->out_channels;
    const int64_t first_out = one_group ? level->first_out + task_group * level->out : 0;
    const int64_t columns = p->out_size[2] - p->first[2] - p->step[2] * start[2], y_row = p->step[1] * p->out_size[2];
    if (p->add_levels) y += first_out * channel;
    /* where earlier levels had tasks of their own, their sums are taken up again: the order of a sum is always the same
     */
    for (int64_t o = 0; p->add_levels && level->add && t->begin > 0 && o < out; o++)
        for (int64_t i = 0; i < places.count; i++)
            for (int64_t z = 0; z < places.extent[i]; z++)
                read_rows(p, sums + o * t->sum_channel + z * t->sum_plane + i, t->sum_row, t->pack,
                          y + places.y[i] + o * channel + z * p->step[0] * plane, y_row, extent[1], extent[2]);
    for (int64_t l = t->begin; l < t->end; l++, level++)
        for (int64_t g = first_group; g < (one_group ? task_group + 1 : level->groups); g++) {
            const float *input = (float *)scratch + (level->first_in + g * level->in - first) * t->channel;
            if (p->add_levels)
                convolve_group(t, level, g, &places, input,
                               &(Target){.y = sums + (level->first_out + g * level->out - first_out) * t->sum_channel,
                                         .channel = t->sum_channel,
                                         .row = t->sum_row,
                                         .add = level->add},
                               t->sum_plane, 1, extent);
            else
                convolve_group(t, level, g, &places, input,
                               &(Target){.y = y + (level->first_out + g * level->out) * channel,
                                         .channel = channel,
                                         .row = p->out_size[2]},
                               p->step[0] * plane, 0, extent);
        }
    for (int64_t o = 0; p->add_levels && o < out; o++)
        for (int64_t i = 0; i < places.count; i++)
            for (int64_t z = 0; z < places.extent[i]; z++)
                write_rows(p, y + places.y[i] + o * channel + z * p->step[0] * plane, y_row,
                           sums + o * t->sum_channel + z * t->sum_plane + i, t->sum_row, t->pack, extent[1], extent[2],
                           columns, 0);
}

static int64_t count_tasks(const Tiling *t) {
    return t->groups * ceil_div(t->pass->batch * t->tiles[0], t->pack) * t->tiles[1] * t->tiles[2];
}

/* How many rows of some width, `most` at most, should alternate in the vectors: more only if that saves a fifth of
 * them. */
static int64_t choose_pack(int64_t width, int64_t most) {
    int64_t best = 1;
    for (int64_t pack = 2; pack <= min64(most, MAX_PACK); pack *= 2)
        if (5 * best * ceil_div(pack * width, VL) <= 4 * pack * ceil_div(best * width, VL)) best = pack;
    return best;
}

/* Lay out tiles of at most `height` x `width`; pack as many into a task as fill the vectors, while each thread has a
 * task and the scratch is not too large. That there may be too few tasks for all levels at once then costs less than it
 * gains. */
static int64_t lay_out_packed(Tiling *t, int64_t height, int64_t width, int64_t threads) {
    const Pass *p = t->pass;
    int64_t depth = p->in_size[0] > 1 ? 8 : 1;
    t->pack = 1;
    if (p->count[2] <= width) {
        const int64_t wanted = choose_pack(p->count[2], MAX_PACK), tasks = t->groups * p->batch;
        while (wanted > 1 && depth > 2 && tasks * ceil_div(p->count[0], depth) < wanted * threads) depth /= 2;
        t->pack = choose_pack(p->count[2], tasks * ceil_div(p->count[0], depth) / threads);
        while (t->pack > 1 && lay_out(t, depth, height, width) > 2 * SCRATCH_FLOATS) {
            t->pack = depth > 2 ? t->pack : choose_pack(p->count[2], t->pack / 2);
            depth = depth > 2 ? depth / 2 : depth;
        }
    }
    return lay_out(t, depth, height, width);
}

/* Every `dilation`-th depth, where a dilated kernel has its taps: in such a phase, the halo of a tile is that of a
 * kernel without dilation. */
typedef struct {
    Pass pass;
    Tiling tiling;
} Phase;

static void take_phase(Pass *p, PassLevel *l, int64_t phase, int64_t dilation) {
    p->x += phase * p->x_plane;
    p->x_plane *= dilation;
    p->in_size[0] = ceil_div(p->in_size[0] - phase, dilation);
    p->count[0] = ceil_div(p->count[0] - phase, dilation);
    p->first[0] += phase * p->step[0];
    p->step[0] *= dilation;
    l->dilation[0] /= dilation;
    l->pad[0] /= dilation;
}

static void convolve_phase_task(void *context, void *scratch, int64_t index) {
    Phase *phase = context;
    for (int64_t tasks; index >= (tasks = count_tasks(&phase->tiling)); phase++) index -= tasks;
    convolve_task(&phase->tiling, scratch, index);
}

/* Returns 0, or 1 without memory. */
static int run_level(const Pass *p, int64_t l, int64_t threads) {
    const int64_t dilation = p->stride[0] == 1 && p->step[0] == 1 ? p->level[l].dilation[0] : 1;
    const int64_t phases = min64(dilation, max64(p->count[0], 1)); /* the others have no depth */
    Phase *phase = malloc((size_t)phases * sizeof(Phase));
    if (!phase) return 1;
    int64_t floats = 0, tasks = 0;
    for (int64_t i = 0; i < phases; i++) {
        phase[i].pass = *p;
        take_phase(&phase[i].pass, phase[i].pass.level + l, i, dilation);
        phase[i].tiling = (Tiling){
            .pass = &phase[i].pass, .begin = l, .end = l + 1, .groups = p->level[l].groups, .channels = p->level[l].in};
        floats = max64(floats, lay_out_packed(&phase[i].tiling, 32, 32, threads));
        tasks += count_tasks(&phase[i].tiling);
    }
    const int failed = run_tasks(convolve_phase_task, phase, tasks, floats * (int64_t)sizeof(float), threads);
    free(phase);
    return failed;
}

/* Returns 0, or 1 without memory. */
static int run_pass(const Pass *p, int64_t threads) {
    Tiling all = {.pass = p, .begin = 0, .end = p->levels, .groups = 1, .channels = p->in_channels};
    for (int64_t height = 32; height >= 16; height /= 2) {
        const int64_t floats = lay_out_packed(&all, height, 64, threads), tasks = count_tasks(&all);
        if (floats <= SCRATCH_FLOATS && tasks >= 2 * threads)
            return run_tasks(convolve_task, &all, tasks, floats * (int64_t)sizeof(float), threads);
    }
    for (int64_t l = 0; l < p->levels; l++)
        if (run_level(p, l, threads)) return 1;
    return 0;
}

#endif
