"""Convolve with a compiled library, in a process of its own: a library that crashes does so here.

Started as a script with the library's path; needs nothing but Python's own library. Ends with status 0 if all is right.
"""

from __future__ import annotations

import ctypes
import sys

HEIGHT, WIDTH = 9, 37


def main(path: str) -> str | None:
    """Convolve ones with a 3 x 3 kernel of ones, and compare with the numbers of products.

    Args:
        path: The library.

    Returns:
        What is wrong with the library, or None.
    """
    library = ctypes.CDLL(path)
    shape = (ctypes.c_int64 * 12)(1, 1, 1, *(1, HEIGHT, WIDTH), *(1, HEIGHT, WIDTH), *(1, 1, 1))
    level = (ctypes.c_int64 * 10)(*(1, 3, 3), *(1, 1, 1), 1, 0, 1, 1)
    layer = shape, ctypes.c_int64(1), level
    image = ctypes.c_float * (HEIGHT * WIDTH)
    ones, weight = image(*[1.0] * (HEIGHT * WIDTH)), (ctypes.c_float * 9)(*[1.0] * 9)
    y, x_gradient, weight_gradient = image(), image(), (ctypes.c_float * 9)()
    one_thread = ctypes.c_int64(1)

    def pointers(array: object) -> object:
        return (ctypes.c_void_p * 1)(ctypes.cast(array, ctypes.c_void_p) if array else None)  # type: ignore[arg-type]

    failed = (
        library.pyconv_forward(*layer, ones, pointers(weight), pointers(None), y, one_thread)
        or library.pyconv_input_gradient(*layer, ones, pointers(weight), x_gradient, one_thread)
        or library.pyconv_weight_gradient(*layer, ones, ones, pointers(weight_gradient), one_thread)
    )
    if failed:
        return "no memory"
    # a pixel sees the taps inside the image, a tap the pixels whose neighbour there is inside
    taps_y, taps_x = ([3 - (i == 0) - (i == size - 1) for i in range(size)] for size in (HEIGHT, WIDTH))
    seen = [a * b for a in taps_y for b in taps_x]
    pixels = [a * b for a in (HEIGHT - 1, HEIGHT, HEIGHT - 1) for b in (WIDTH - 1, WIDTH, WIDTH - 1)]
    right = list(y) == seen and list(x_gradient) == seen and list(weight_gradient) == pixels
    return None if right else "it computes wrong numbers"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
