"""Time the converters on made slices of 512 x 512, and reading and writing the same files alone.

python -m nnunet_pyconv.benchmarks.conversion [--images 1000] [-np 8] [--folder DIR]
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.io as io
import tifffile
import torch
from nnunetv2.configuration import default_num_processes
from scipy.ndimage import gaussian_filter

from nnunet_pyconv.benchmarks.report import machine
from nnunet_pyconv.dataset_conversion import kaggle_lung, liver
from nnunet_pyconv.dataset_conversion.images import read_image

SIZE_PX = 512


@dataclass(frozen=True)
class Result:
    """How fast a converter is.

    Attributes:
        dataset: Which one.
        converted_per_s: Images with their labels that are converted in a second.
        read_and_written_per_s: The same files read and written in a second, with nothing in between.
        memory_mb: Peak memory of the process after a tenth of the images, and after all.
    """

    dataset: str
    converted_per_s: float
    read_and_written_per_s: float
    memory_mb: tuple[float, float]


def benchmark(images: int, num_processes: int, folder: Path) -> list[Result]:
    """Convert made files of both layouts.

    Args:
        images: How many images with labels, at least 50.
        num_processes: Images at a time.
        folder: An empty folder for the files; it decides which disk is measured.

    Returns:
        A result for each converter.
    """
    os.environ.update(nnUNet_raw=str(folder / "nnUNet_raw"))
    return [
        _benchmark("kaggle_lung", _write_lung, kaggle_lung.convert, images, num_processes, folder),
        _benchmark("liver", _write_liver, liver.convert, images, num_processes, folder),
    ]


def _benchmark(
    dataset: str,
    write: Callable[[Path, int], None],
    convert: Callable[..., Path],
    images: int,
    num_processes: int,
    folder: Path,
) -> Result:
    memory = []
    for count in (images // 10, images):
        source = folder / f"{dataset}_{count}"
        write(source, count)
        start = time.perf_counter()
        target = convert(source, num_processes=num_processes)
        converting = time.perf_counter() - start
        memory.append(_peak_memory_mb())
        shutil.rmtree(target)

    files = [path for path in source.rglob("*") if path.is_file()]
    copies = folder / "copies"
    copies.mkdir()

    def read_and_write(path: Path) -> None:
        image = read_image(path)
        grey = image if image.ndim == 2 else image[..., 0]  # as converted: one channel
        io.imsave(copies / f"{path.parent.name}_{path.name}", grey, check_contrast=False)

    start = time.perf_counter()
    with ThreadPoolExecutor(num_processes) as pool:
        for _ in pool.map(read_and_write, files):
            pass
    copying = time.perf_counter() - start
    shutil.rmtree(copies)
    return Result(dataset, images / converting, images / copying, (memory[0], memory[1]))


def _write_lung(source: Path, images: int) -> None:
    """`2d_images` in int16 and `2d_masks` in uint8, as Kaggle has them."""
    image, mask = _slice()
    for number in range(images):
        for folder, pixels in (("2d_images", image), ("2d_masks", mask)):
            (source / folder).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(source / folder / f"ID_{number:04d}_Z_0000.tif", np.roll(pixels, number, axis=0))


def _write_liver(source: Path, images: int) -> None:
    """`train` and `val` (a twentieth) with RGB images of equal channels and grey masks."""
    image, mask = _slice()
    rgb = np.repeat(np.clip(image / 8 + 128, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)
    for folder, count in (("train", images - images // 20), ("val", images // 20)):
        (source / folder).mkdir(parents=True)
        for number in range(count):
            for ending, pixels in (("", rgb), ("_mask", mask)):
                path = source / folder / f"{number:03d}{ending}.png"
                io.imsave(path, np.roll(pixels, number, axis=0), check_contrast=False)


def _slice() -> tuple[np.ndarray, np.ndarray]:
    """Smooth tissue with the noise of a CT, in Hounsfield units, and a mask of 0 and 255."""
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(SIZE_PX, SIZE_PX)), 12)
    image = smooth / smooth.std() * 300 - 400 + rng.normal(0, 20, smooth.shape)
    return image.astype(np.int16), np.where(smooth > 0, 255, 0).astype(np.uint8)


def _peak_memory_mb() -> float:
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def to_markdown(results: Sequence[Result]) -> str:
    """A table of the results."""
    lines = [
        "| dataset | converted, images/s | read and written alone, images/s | peak memory after a tenth and all, MB |",
        "|---|---|---|---|",
    ]
    for result in results:
        few, all_ = result.memory_mb
        lines.append(
            f"| {result.dataset} | {result.converted_per_s:.0f} | {result.read_and_written_per_s:.0f} "
            f"| {few:.0f}, {all_:.0f} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="how many, with labels (default: %(default)s)")
    parser.add_argument(
        "-np", dest="num_processes", type=int, default=default_num_processes, help="at a time (default: %(default)s)"
    )
    parser.add_argument("--folder", type=Path, help="where the files go: which disk (default: the temporary folder)")
    args = parser.parse_args(argv)
    print(
        f"processor: {machine(torch.device('cpu'))['processor']}; cores: {os.cpu_count()}; images: {args.images}",
        end="\n\n",
    )
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        results = benchmark(args.images, args.num_processes, Path(folder))
    print(to_markdown(results))


if __name__ == "__main__":
    main()
