"""The names of a dataset's channels, as its `dataset.json` has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def channel_names(dataset_json: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the channels, in the order of their numbers.

    Args:
        dataset_json: Content of nnU-Net's `dataset.json`: `{"channel_names": {"0": "CT"}}`, in datasets of nnU-Net v1
            `modality`.

    Returns:
        The names; none if it names no channels.
    """
    channels = dataset_json.get("channel_names") or dataset_json.get("modality") or {}
    return tuple(str(name) for _, name in sorted(channels.items(), key=lambda channel: int(channel[0])))
