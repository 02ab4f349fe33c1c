/* Copies of a part of an image to scratch memory, where borders and strides are settled once. */
#ifndef PYCONV_COPY_H
#define PYCONV_COPY_H

#include "vector.h"

/* memcpy and memset for a row of some hundred bytes, without the price of a call. */
static inline void copy_floats(float *to, const float *from, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) store(to + i, load(from + i));
    for (; i < n; i++) to[i] = from[i];
}

static inline void clear_floats(float *to, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) store(to + i, (vec){0});
    for (; i < n; i++) to[i] = 0;
}

/* Sort elements [begin, end) of a row by their residue modulo the stride. */
static inline void sort_floats(float *to, const float *from, int64_t begin, int64_t end, int64_t stride,
                               int64_t phase) {
    for (int64_t r = 0; r < stride; r++)
        for (int64_t i = ceil_div(max64(begin - r, 0), stride); i * stride + r < end; i++)
            to[r * phase + i] = from[i * stride + r];
}

/* Copy elements [begin, end) of a row to every `pack`-th place, sorted like that, with zeros before and behind them. */
static inline void spread_floats(float *to, const float *from, int64_t begin, int64_t end, int64_t columns,
                                 int64_t stride, int64_t phase, int64_t pack) {
    for (int64_t r = 0; r < stride; r++, to += phase) {
        int64_t c = r, i = 0;
        for (; c < begin; c += stride, i += pack) to[i] = 0;
        for (; c < end; c += stride, i += pack) to[i] = from[c];
        for (; c < columns; c += stride, i += pack) to[i] = 0;
    }
}

/* Copy `rows` x `columns` elements of a plane of `height` x `width`, from row y and column x on, to rows that are `row`
 * floats apart; what lies outside of the plane, or between the columns and the end of a row, is zero. With a stride,
 * columns are sorted by their residue, `phase` floats apart. A plane NULL is zero. With pack > 1, the elements of so
 * many planes alternate, of which this is one, and what is behind the columns stays. */
static void copy_rows(float *to, const float *plane, int64_t height, int64_t width, int64_t y, int64_t x, int64_t rows,
                      int64_t columns, int64_t row, int64_t stride, int64_t phase, int64_t pack) {
    const int64_t begin = min64(max64(-x, 0), columns), end = max64(min64(columns, width - x), begin);
    for (int64_t r = y; r < y + rows; r++, to += row) {
        const int outside = !plane || r < 0 || r >= height;
        const float *from = outside ? NULL : plane + r * width + x;
        if (pack > 1) {
            spread_floats(to, from, begin, outside ? begin : end, columns, stride, phase, pack);
        } else if (outside) {
            clear_floats(to, row);
        } else if (stride == 1) {
            clear_floats(to, begin);
            copy_floats(to + begin, from + begin, end - begin);
            clear_floats(to + end, row - end);
        } else {
            clear_floats(to, row);
            if (stride == 2) /* as a constant, so that it is vectorised */
                sort_floats(to, from, begin, end, 2, phase);
            else
                sort_floats(to, from, begin, end, stride, phase);
        }
    }
}

#endif
