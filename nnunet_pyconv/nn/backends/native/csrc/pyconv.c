/* The native backend of a pyramidal convolution: single precision, NCHW or NCDHW, any number of levels.
 *
 * A plain C library that takes data pointers, so that it depends on no version of Python or torch. Sizes are 64-bit
 * integers:
 *   shape  batch, input channels, output channels, input size (depth, height, width), output size, stride
 *   level  kernel (depth, height, width), dilation, groups, first input channel, input channels, output channels; one
 *          such row for each level
 * Either all levels have all input channels, or each begins where the one before ends. A level has padding kernel / 2
 * times dilation and the ordinary weights [output channels][input channels / groups][kernel]; its output channels
 * follow those of the level before. A two-dimensional image has depth 1. The three functions return 0, or 1 if there
 * was no memory. */
#include "passes.h"
#include "weight_gradient.h"

#define EXPORT __attribute__((visibility("default")))

/* Name the OpenMP runtime whose threads to use, by the address of its GOMP_parallel. */
EXPORT void pyconv_use_openmp(void *parallel) {
    openmp_parallel = (OpenMPParallel)parallel;
}

/* y = the levels' convolutions of x, one after the other along the channels. A bias may be NULL. */
EXPORT int pyconv_forward(const Shape *shape, int64_t levels, const Level *level, const float *x,
                          const float *const *weight, const float *const *bias, float *y, int64_t threads) {
    return forward(shape, levels, level, x, weight, bias, y, threads);
}

EXPORT int pyconv_input_gradient(const Shape *shape, int64_t levels, const Level *level, const float *y_gradient,
                                 const float *const *weight, float *x_gradient, int64_t threads) {
    return input_gradient(shape, levels, level, y_gradient, weight, x_gradient, threads);
}

EXPORT int pyconv_weight_gradient(const Shape *shape, int64_t levels, const Level *level, const float *x,
                                  const float *y_gradient, float *const *weight_gradients, int64_t threads) {
    return weight_gradient(shape, levels, level, x, y_gradient, weight_gradients, threads);
}
