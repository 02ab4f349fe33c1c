"""Converting a dataset against reading and writing the same files with nothing in between."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import skimage.io as io
import tifffile
import torch
from scipy.ndimage import gaussian_filter

from nnunet_pyconv.benchmarks.report import Measurements, Value
from nnunet_pyconv.benchmarks.timing import ratios, time_in_turn
from nnunet_pyconv.dataset_conversion import isbi_cell, kaggle_lung, liver
from nnunet_pyconv.dataset_conversion.conversion import convert
from nnunet_pyconv.dataset_conversion.reading import read_grey
from nnunet_pyconv.dataset_conversion.registry import Converter
from nnunet_pyconv.synthetic.workspace import Workspace

SIZE_PX = 512
CONVERTED, COPIED = "converted", "read and written"


def benchmark_conversion(images: int, rounds: int, num_processes: int, folder: Path) -> list[Measurements]:
    """Convert made files of the three layouts.

    Args:
        images: How many images with labels, at least 100.
        rounds: How often to convert and to copy each.
        num_processes: Images at a time.
        folder: An empty folder for the files, below which nnU-Net's are set; it decides which disk is measured.

    Returns:
        A table with a row for each converter. Peak memory, after a tenth of the images and after all, is that of this
        process: it only grows, from row to row.
    """
    workspace = Workspace(folder)
    workspace.prepare(overwrite=False)
    with workspace.environment():
        rows = [
            _row("isbi_cell", _write_isbi, isbi_cell, images, rounds, num_processes, folder),
            _row("kaggle_lung", _write_lung, kaggle_lung, images, rounds, num_processes, folder),
            _row("liver", _write_liver, liver, images, rounds, num_processes, folder),
        ]
    title = f"{images} made slices of {SIZE_PX} x {SIZE_PX} with labels, {num_processes} at a time; median (quartiles)"
    return [Measurements(title, rows)]


def _row(
    dataset: str,
    write: Callable[[Path, int], None],
    converter: Converter,
    images: int,
    rounds: int,
    num_processes: int,
    folder: Path,
) -> dict[str, Value]:
    few, all_ = folder / f"{dataset}_few", folder / dataset
    write(few, images // 10)
    convert(converter, few, num_processes=num_processes, overwrite=True)
    memory_after_few = _peak_memory_mb()
    write(all_, images)
    files = [path for path in all_.rglob("*") if path.is_file()]
    copies = folder / "copies"

    def copy(path: Path) -> None:
        io.imsave(copies / "_".join(path.relative_to(all_).parts), read_grey(path), check_contrast=False)

    def copy_all() -> None:
        shutil.rmtree(copies, ignore_errors=True)
        copies.mkdir()
        with ThreadPoolExecutor(num_processes) as pool:
            for _ in pool.map(copy, files):
                pass

    calls = {CONVERTED: lambda: convert(converter, all_, num_processes=num_processes, overwrite=True), COPIED: copy_all}
    measured = ratios(time_in_turn(calls, rounds, torch.device("cpu"), dataset), [COPIED])
    shutil.rmtree(copies)
    return {
        "dataset": dataset,
        "converted, images/s": images / measured[CONVERTED].time_ms * 1e3,
        "read and written alone, images/s": images / measured[COPIED].time_ms * 1e3,
        "time / time of reading and writing": measured[CONVERTED],
        "peak memory after a tenth, MB": memory_after_few,
        "after all, MB": _peak_memory_mb(),
    }


def _write_isbi(source: Path, images: int) -> None:
    """Slices and labels as numbered PNGs."""
    image, mask = _slice()
    grey = np.clip(image / 8 + 128, 0, 255).astype(np.uint8)
    for folder, pixels in (("train/image", grey), ("train/label", mask), ("test/image", grey)):
        (source / folder).mkdir(parents=True)
        for number in range(images) if folder != "test/image" else [images]:
            io.imsave(source / folder / f"{number}.png", _another(pixels, number), check_contrast=False)


def _write_lung(source: Path, images: int) -> None:
    """`2d_images` in int16 and `2d_masks` in uint8, as Kaggle has them."""
    image, mask = _slice()
    for folder, pixels in (("2d_images", image), ("2d_masks", mask)):
        (source / folder).mkdir(parents=True)
        for number in range(images):
            tifffile.imwrite(source / folder / f"ID_{number:04d}_Z_0000.tif", _another(pixels, number))


def _write_liver(source: Path, images: int) -> None:
    """`train` and `val` (a twentieth) with RGB images of equal channels and grey masks."""
    image, mask = _slice()
    rgb = np.repeat(np.clip(image / 8 + 128, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)
    val = max(1, images // 20)
    for folder, numbers in (("train", range(val, images)), ("val", range(val))):
        (source / folder).mkdir(parents=True)
        for number in numbers:
            for ending, pixels in (("", rgb), ("_mask", mask)):
                path = source / folder / f"{number:03d}{ending}.png"
                io.imsave(path, _another(pixels, number), check_contrast=False)


def _slice() -> tuple[np.ndarray, np.ndarray]:
    """Smooth tissue with the noise of a CT, in Hounsfield units, and a mask of 0 and 255."""
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(SIZE_PX, SIZE_PX)), 12)
    image = smooth / smooth.std() * 300 - 400 + rng.normal(0, 20, smooth.shape)
    return image.astype(np.int16), np.where(smooth > 0, 255, 0).astype(np.uint8)


def _another(pixels: np.ndarray, number: int) -> np.ndarray:
    """Every number gives another picture."""
    return np.roll(pixels, divmod(number, SIZE_PX), axis=(1, 0))


def _peak_memory_mb() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, elsewhere KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
