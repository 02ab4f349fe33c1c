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

/* Copy `rows` x `columns` elements of a plane of `height` x `width`, from row y and column x on, to rows that are `row`
 * floats apart; what lies outside of the plane, or between the columns and the end of a row, is zero. With a stride,
 * columns are sorted by their residue, `phase` floats apart. A plane NULL is zero. */
static void copy_rows(float *to, const float *plane, int64_t height, int64_t width, int64_t y, int64_t x, int64_t rows,
                      int64_t columns, int64_t row, int64_t stride, int64_t phase) {
    const int64_t begin = min64(max64(-x, 0), columns), end = max64(min64(columns, width - x), begin);
    for (int64_t r = y; r < y + rows; r++, to += row) {
        if (!plane || r < 0 || r >= height) {
            clear_floats(to, row);
            continue;
        }
        const float *from = plane + r * width + x;
        if (stride == 1) {
            clear_floats(to, begin);
            copy_floats(to + begin, from + begin, end - begin);
            clear_floats(to + end, row - end);
        } else {
            clear_floats(to, row);
            for (int64_t i = begin; i < end; i++) to[i % stride * phase + i / stride] = from[i];
        }
    }
}

#endif
