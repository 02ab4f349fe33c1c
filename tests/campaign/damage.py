"""Ways to damage a user's files, chosen by a seeded generator: what disks, copies, editors and strangers do to them."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from packages import Evil
from PIL import Image

ODD_VALUES: Sequence[Any] = (
    None, True, -1, 0, 1.5, 1e400, float("nan"), 10**30, "", "x" * 5000, "../..", "$(touch x)", "\ud800", "a\x1b[2Jb",
    "-rf", [], {}, [[]], {"": {}}, [1, "a", None], "nowhere.Class",
)  # fmt: skip
ODD_NAMES = (
    "-rf.png",
    "a b$HOME.png",
    "a\nb.png",
    "übung.png",
    "=1+1.png",
    "case_000.PNG",
    ".hidden.png",
    "x" * 200 + ".png",
)


def damage_bytes(rng: random.Random, file: Path) -> str:
    """Cut off, empty, flip, overwrite or lengthen."""
    content = bytearray(file.read_bytes())
    kind = rng.choice(("cut off", "empty", "flipped", "zeros", "garbage", "text", "doubled"))
    if kind == "cut off":
        content = content[: rng.randrange(len(content) + 1)]
    elif kind == "flipped" and content:
        for _ in range(rng.choice((1, 1, 8, 64))):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == "zeros" and content:
        start = rng.randrange(len(content))
        content[start : start + 4096] = bytes(len(content[start : start + 4096]))
    else:
        content = bytearray(
            {"garbage": rng.randbytes(500), "text": b"<html>404</html>", "doubled": content * 2}.get(kind, b"")
        )
    file.write_bytes(content)
    return kind


def damage_place(rng: random.Random, file: Path) -> str:
    """Something else where a file should be."""
    kind = rng.choice(("missing", "folder", "dangling link", "link to a folder", "renamed", "no right to read"))
    other = file.with_name(rng.choice(ODD_NAMES))
    if kind == "renamed":
        file.rename(other)
        return f"renamed to {other.name!r:.40}"
    if kind == "no right to read":
        file.chmod(0)
        return kind
    file.unlink()
    if kind == "folder":
        file.mkdir()
    elif kind != "missing":
        file.symlink_to(file.parent if "folder" in kind else "/nowhere/at/all")
    return kind


def _places(value: Any) -> list[tuple[Any, Any]]:
    """All keys and indices within a JSON value, each with what holds it."""
    items = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [(value, key) for key, _ in items] + [place for _, entry in items for place in _places(entry)]


def damage_value(rng: random.Random, content: Any) -> tuple[Any, str]:
    """Another value, key or order somewhere in a JSON value."""
    kind = rng.choice(("odd", "odd", "odd", "removed", "key", "swapped", "deep", "all"))
    places = _places(content)
    if kind == "all" or not places:
        return rng.choice(ODD_VALUES), "all of it replaced"
    holder, key = rng.choice(places)
    if kind == "removed":
        del holder[key]
    elif kind == "key" and isinstance(holder, dict):
        holder[rng.choice(("", "other", "a\nb", "inherits_from", "\ud800"))] = holder.pop(key)
    elif kind == "swapped":
        other, place = rng.choice(places)
        holder[key], other[place] = json.loads(
            json.dumps([other.get(place) if isinstance(other, dict) else other[place], holder[key]])
        )
    elif kind == "deep":
        deep: Any = []
        for _ in range(300):
            deep = [deep]
        holder[key] = deep
    else:
        holder[key] = rng.choice(ODD_VALUES)
    return content, f"{kind} at {key!r:.30}"


def damage_json(rng: random.Random, file: Path) -> str:
    if rng.random() < 0.2:
        text = file.read_text()
        ways: dict[str, Callable[[], str]] = {
            "nested": lambda: "[" * 100_000,
            "two documents": lambda: text + text,
            "byte order mark": lambda: "\ufeff" + text,
            "comments": lambda: "// plans\n" + text,
            "single quotes": lambda: text.replace('"', "'"),
        }
        kind = rng.choice(sorted(ways))
        file.write_text(ways[kind](), "utf-8")
        return kind
    content, what = damage_value(rng, json.loads(file.read_text()))
    file.write_text(json.dumps(content), "utf-8")
    return what


def damage_image(rng: random.Random, file: Path) -> str:
    """Another picture than the one that belongs there, in a format that can be read."""
    pixels = np.array(Image.open(file))
    grey = pixels if pixels.ndim == 2 else pixels[..., 0]
    ways: dict[str, Callable[[], Image.Image]] = {
        "other size": lambda: Image.fromarray(grey[: rng.randrange(1, len(grey)), :]),
        "one pixel": lambda: Image.fromarray(grey[:1, :1]),
        "colour": lambda: Image.fromarray(np.stack([grey, grey // 2, grey], -1).astype(np.uint8)),
        "alpha": lambda: Image.fromarray(np.stack([grey] * 4, -1).astype(np.uint8)),
        "grey and alpha": lambda: Image.fromarray(grey.astype(np.uint8)).convert("LA"),
        "palette": lambda: Image.fromarray(grey.astype(np.uint8)).convert("P"),
        "one bit": lambda: Image.fromarray(grey > grey.mean()),
        "16 bit": lambda: Image.fromarray(grey.astype(np.uint16) * 257),
        "all zero": lambda: Image.fromarray(np.zeros_like(grey)),
        "all white": lambda: Image.fromarray(np.full_like(grey, 255)),
        "noise": lambda: Image.fromarray(
            np.random.default_rng(rng.randrange(10**6)).integers(0, 256, grey.shape).astype(np.uint8)
        ),
        "one odd label": lambda: Image.fromarray(
            np.where(np.arange(grey.size).reshape(grey.shape) == 5, 7, grey).astype(np.uint8)
        ),
    }
    kind = rng.choice(sorted(ways))
    try:
        ways[kind]().save(file, format="TIFF" if file.suffix.lower().startswith(".tif") else "PNG")
    except (OSError, TypeError):  # this format has no such picture
        return damage_bytes(rng, file)
    return kind


def damage_checkpoint(rng: random.Random, file: Path) -> str:
    """Another content of a checkpoint, whole and in order as a file."""
    content = torch.load(file, weights_only=False)
    kind = rng.choice(("key removed", "odd value", "other weights", "code", "list", "no dictionary of weights", "nan"))
    if kind == "key removed":
        del content[rng.choice(sorted(content))]
    elif kind == "odd value":
        content[rng.choice(sorted(content))] = rng.choice([value for value in ODD_VALUES if value != "\ud800"])
    elif kind == "other weights":
        name = rng.choice(sorted(content["network_weights"]))
        content["network_weights"][name] = torch.zeros(3, 3)
    elif kind == "code":
        content[rng.choice(("extra", "logging", "network_weights"))] = Evil(file.parents[4] / "witness")
    elif kind == "list":
        content = list(content)
    elif kind == "nan":
        content["logging"] = {key: [float("nan")] for key in content["logging"]}
    else:
        content["network_weights"] = list(content["network_weights"].values())
    torch.save(content, file)
    return kind


def damage_package(rng: random.Random, file: Path) -> str:
    """Damage one member of a package, mostly with its hash in the manifest, as a stranger would; or the zip file."""
    if rng.random() < 0.35:
        return f"zip file: {damage_bytes(rng, file)}"
    from packages import forged, manifest_of, read_package

    members = read_package(file)
    manifest_name, manifest = manifest_of(members)
    name = rng.choice(sorted(members))
    method = rng.choice((0, 0, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    if rng.random() < 0.4:
        changed, what = damage_value(rng, manifest)
        members[manifest_name] = json.dumps(changed).encode()
        what = f"manifest: {what}"
    elif name.endswith(".json") and name != manifest_name:
        changed, what = damage_value(rng, json.loads(members[name]) if members[name].startswith(b"{") else {})
        forged(name, json.dumps(changed).encode())(members)
        what = f"{name.rpartition('/')[2]}: {what}"
    else:
        content = bytearray(members[name])
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        members[name] = bytes(content)
        if name != manifest_name and rng.random() < 0.7:
            forged(name, bytes(content))(members)
        what = f"{name.rpartition('/')[2]}: a flipped bit"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for member, content_of in members.items():
            archive.writestr(member, content_of)
    file.write_bytes(buffer.getvalue())
    if method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2) and rng.random() < 0.7:
        damage_bytes(rng, file)
    return what


_BY_ENDING: dict[str, Callable[[random.Random, Path], str]] = {
    ".json": damage_json, ".png": damage_image, ".tif": damage_image, ".pth": damage_checkpoint, ".zip": damage_package,
}  # fmt: skip


def damage_one(rng: random.Random, folder: Path) -> str:
    """Damage one file below a folder, or a folder; returns what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    by_ending: dict[str, list[Path]] = {}
    for path in files:
        by_ending.setdefault(path.suffix, []).append(path)
    if rng.random() < 0.04:
        lost = rng.choice(sorted(path for path in folder.rglob("*") if path.is_dir()) or [folder])
        shutil.rmtree(lost)
        return f"{lost.relative_to(folder)}/ removed"
    if not files:
        return "nothing left to damage"
    file = rng.choice(by_ending[rng.choice(sorted(by_ending))])
    own = _BY_ENDING.get(file.suffix)
    damage = rng.choice([damage_bytes, damage_place, *([own] * 4 if own else [])])
    try:
        what = damage(rng, file)
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile, pickle.UnpicklingError) as error:  # damaged before
        what = f"{damage_bytes(rng, file)} ({type(error).__name__})"
    return f"{os.path.relpath(file, folder)}: {what}"
