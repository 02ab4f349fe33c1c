"""Doing one thing with many items, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def several_at_a_time(
    work: Callable[[Item], Result], items: Sequence[Item], num_threads: int, title: str
) -> Iterator[Result]:
    """Do something with each item, with a progress bar.

    In threads: reading and compression leave Python's lock alone.

    Args:
        work: What to do.
        items: With what.
        num_threads: How many at a time.
        title: Of the progress bar.

    Yields:
        The results, in the order of the items.
    """
    pool = ThreadPoolExecutor(num_threads)
    try:
        yield from tqdm(pool.map(work, items), total=len(items), desc=title, unit="case")
    finally:
        pool.shutdown(cancel_futures=True)
