"""`--labels`, `--colours`, `--threshold` and `--instances`, from text to a coding."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal, TypeVar

from nnunet_pyconv.dataset_conversion.folder.label_coding import (
    ColourCoding,
    InstanceCoding,
    LabelCoding,
    ThresholdCoding,
    ValueCoding,
)
from nnunet_pyconv.dataset_conversion.reading import Colour
from nnunet_pyconv.errors import InputError

BACKGROUND, IGNORE = "background", "ignore"  # nnU-Net's names; ignore has to be the last label

MOST_CLASSES = 256  # label files have 8 bits
HALF: Literal["half"] = "half"

Key = TypeVar("Key", float, Colour)


def coding_of(
    *,
    labels: Sequence[str] | None = None,
    colours: Sequence[str] | None = None,
    threshold: float | Literal["half"] | None = None,
    instances: str | None = None,
) -> LabelCoding | None:
    """Read what the user says about the label images.

    Args:
        labels: `NAME=VALUE`, or `NAME=VALUE,VALUE` for several values of one class.
        colours: `NAME=R,G,B` or `NAME=#rrggbb`.
        threshold: The least value of the foreground, or `half` of white; of colours, `half` stands for the nearest.
        instances: Name of the class of all objects.

    Returns:
        The coding; None where nothing is said.

    Raises:
        InputError: Text of another form, a name or value twice, or options that contradict each other.
    """
    given = [
        name for name, value in (("--labels", labels), ("--colours", colours), ("--instances", instances)) if value
    ]
    if threshold not in (None, HALF) and not math.isfinite(threshold):
        raise InputError(f"--threshold {threshold}: expected a number, the least value of the foreground")
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)}: expected one of them")
    if instances is not None:
        if threshold is not None:
            raise InputError("--instances and --threshold: expected one of them")
        _require_name(instances, "--instances")
        return InstanceCoding((BACKGROUND, instances))
    if colours is not None:
        if threshold not in (None, HALF):
            raise InputError(
                f"--threshold {threshold}: with --colours it takes no value, pixels take the nearest colour"
            )
        pairs = [(name, _colour(text)) for name, text in map(_split, colours, ["--colours"] * len(colours))]
        classes, label_of_colour = _numbered(pairs, (0, 0, 0), "--colours")
        return ColourCoding(classes, label_of_colour, approximates=threshold is not None)
    if labels is not None:
        values = [
            (name, _value(text))
            for name, texts in map(_split, labels, ["--labels"] * len(labels))
            for text in texts.split(",")
        ]
        classes, label_of_value = _numbered(values, 0.0, "--labels")
        if threshold is None:
            return ValueCoding(classes, label_of_value)
        if len(label_of_value) != 2 or label_of_value.get(min(label_of_value)) != 0:
            raise InputError(
                f"--threshold with --labels {' '.join(labels)}: expected one value of background and a higher one of "
                "another class, since values between two classes may be those of a third"
            )
        least = sum(label_of_value) / 2 if threshold == HALF else threshold
        return ThresholdCoding(classes, least, tuple(label_of_value))
    if threshold is None:
        return None
    return ThresholdCoding(threshold=None if threshold == HALF else threshold)


def _numbered(pairs: Sequence[tuple[str, Key]], black: Key, flag: str) -> tuple[tuple[str, ...], dict[Key, int]]:
    """Number the classes: background first, ignore last, the others as they come."""
    if BACKGROUND not in [name for name, _ in pairs]:
        pairs = [(BACKGROUND, black), *pairs]
    names = sorted(dict(pairs), key=lambda name: (name != BACKGROUND, name == IGNORE))
    if len(names) > MOST_CLASSES:
        raise InputError(f"{flag} names {len(names)} classes; expected at most {MOST_CLASSES}, background included")
    numbers: dict[Key, int] = {}
    for name, key in pairs:
        if key in numbers:
            other = names[numbers[key]]
            raise InputError(
                f"{flag}: {_text(key)} stands for {other} and for {name}; expected one class"
                + (f", give {BACKGROUND} its own" if BACKGROUND in (other, name) else "")
            )
        numbers[key] = names.index(name)
    if len(names) < 2:
        raise InputError(f"{flag} names only {BACKGROUND}; expected another class too, for example nucleus=255")
    return tuple(names), numbers


def _split(text: str, flag: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise InputError(f"{flag} {text}: expected NAME={'VALUE' if flag == '--labels' else 'R,G,B'}")
    _require_name(name, flag)
    return name, value


def _require_name(name: str, flag: str) -> None:
    if not name.strip():
        raise InputError(f"{flag}: expected a name for the class, such as nucleus")


def _value(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--labels: {text!r} is no number; expected NAME=VALUE, for example nucleus=255") from None


def _colour(text: str) -> Colour:
    if re.fullmatch(r"#[0-9A-Fa-f]{6}", text):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    parts = text.split(",")
    if len(parts) != 3 or not all(part.isdigit() and int(part) <= 255 for part in parts):
        raise InputError(f"--colours: {text!r} is no colour; expected R,G,B of 0 to 255 each, or #rrggbb")
    return int(parts[0]), int(parts[1]), int(parts[2])


def _text(key: float | Colour) -> str:
    return ",".join(map(str, key)) if isinstance(key, tuple) else f"{key:g}"
