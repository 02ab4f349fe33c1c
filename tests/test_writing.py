"""Folders and files that are written whole or not at all: errors, kills at every moment, two writers, links."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from forks import in_fork, status_of

from nnunet_pyconv import writing
from nnunet_pyconv.errors import InputError
from nnunet_pyconv.exchange import exchange
from nnunet_pyconv.writing import check_target, finish_or_remove, interrupted_targets, whole_files, whole_folder


@pytest.fixture(params=["exchange", "renames"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's exchange of two folders, and as on systems without one."""
    if request.param == "renames":
        monkeypatch.setattr(writing, "exchange", lambda first, second: False)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    (folder / "old").write_text("old")
    return folder


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_new(target: Path) -> None:
    with whole_folder(target) as new:
        (new / "new").write_text("new")


@pytest.mark.usefixtures("either_way")
def test_replaced(target: Path) -> None:
    write_new(target)
    assert content(target) == {"new": "new"}
    assert names(target.parent) == ["target"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux swaps two folders in one step")
def test_exchange(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "b").exists()
    assert (tmp_path / "b" / "a").exists()
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "c")


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_error_leaves_all_as_it_was(error: type[BaseException], target: Path) -> None:
    def fail(new: Path) -> None:
        (new / "new").touch()
        raise error

    with pytest.raises(error), whole_folder(target) as new:
        fail(new)
    with pytest.raises(error), whole_folder(target.parent / "a" / "b"):
        raise error
    assert content(target) == {"old": "old"}
    assert names(target.parent) == ["target"]


def killed_at(call: str, number: int, run: Callable[[], None]) -> bool:
    """Run in a child that is killed at the nth call of a function; whether it came so far."""

    def run_counted() -> None:
        module, _, name = call.rpartition(".")
        owner = {"shutil": writing.shutil, "Path": Path}[module]
        original, count = getattr(owner, name), 0

        def counted(*args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        setattr(owner, name, counted)
        run()

    status = status_of(in_fork(run_counted))
    assert status in (0, -signal.SIGKILL)
    return status == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("call", ["Path.rename", "Path.mkdir", "shutil.rmtree", "Path.unlink"])
@pytest.mark.parametrize("with_old", [True, False])
def test_killed_at_every_step(call: str, with_old: bool, target: Path) -> None:
    """What stands under the name is whole, or the next command makes it so; a killed process holds nobody up."""
    for number in range(1, 10):
        writing.shutil.rmtree(target, ignore_errors=True)
        if with_old:
            target.mkdir()
            (target / "old").write_text("old")
        if not killed_at(call, number, lambda: write_new(target)):
            break
        if (target.parent / f".target{writing.MARK}").exists():
            assert interrupted_targets(target.parent) == [target]
        finish_or_remove(target)
        assert names(target.parent) in (["target"], [])
        assert not with_old or content(target) in ({"old": "old"}, {"new": "new"})
    assert number < 9
    write_new(target)
    assert content(target) == {"new": "new"}


@pytest.mark.parametrize(("call", "left"), [("Path.mkdir", "old"), ("Path.replace", "new")])
def test_files_killed_in_between(call: str, left: str, tmp_path: Path) -> None:
    """Either both files are the old ones, or, after the next command, both are the new ones."""
    files = (tmp_path / "weights", tmp_path / "card")

    def write() -> None:
        with whole_files(*files) as new:
            for file in new:
                file.write_text("new")

    for number in range(1, 10):
        for file in files:
            file.write_text("old")
        if not killed_at(call, number, write):
            break
        finish_or_remove(files[0])
        assert [file.read_text() for file in files] == [left, left]
        assert names(tmp_path) == ["card", "weights"]
    assert 2 < number < 9


def test_six_writers_of_one_target(tmp_path: Path) -> None:
    """One wins, and five say why they don't."""
    code = f"""if True:
        import sys, time
        from pathlib import Path
        from nnunet_pyconv.errors import InputError
        from nnunet_pyconv.writing import whole_folder
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            with whole_folder(Path({str(tmp_path / "target")!r}), overwrite=False) as new:
                (new / "file").write_text("whole")
                time.sleep(0.5)
        except InputError as error:
            print(error)
        else:
            print("won")
    """
    writers = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    said = sorted(writer.communicate()[0].strip() for writer in writers)
    assert said[-1] == "won"
    assert any("is being written by another process" in text for text in said)
    assert all("is being written by another process; wait" in text or "exists already" in text for text in said[:5])
    assert content(tmp_path / "target") == {"file": "whole"}
    assert names(tmp_path) == ["target"]


def test_link_to_another_place(target: Path, tmp_path: Path) -> None:
    """Users of nnU-Net keep their folders on another disk that way."""
    link = tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    link.symlink_to(target)
    write_new(link)
    assert link.is_symlink()
    assert content(target) == {"new": "new"}
    assert names(link.parent) == ["link"]
    file, file_link = tmp_path / "file", tmp_path / "elsewhere" / "file"
    file.write_text("old")
    file_link.symlink_to(file)
    with whole_files(file_link) as (new,):
        new.write_text("new")
    assert file_link.is_symlink()
    assert file.read_text() == "new"


def test_what_check_target_refuses(target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    file = tmp_path / "file"
    file.touch()
    for path, message in (
        (tmp_path / "dangling", "dangling is a link to .*gone, which is not there; make that folder, or remove the"),
        (tmp_path / "dangling" / "a" / "b", "dangling is a link to"),
        (file, "exists already and is no folder"),
        (file / "below", "file is no folder"),
        (target, "exists already; replace it with --overwrite"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(InputError, match=message):
            check_target(path)
        with pytest.raises(InputError, match=message), whole_folder(path, overwrite=False):
            raise AssertionError("the work must not begin")
    with pytest.raises(InputError, match="exists already and is no file"):
        check_target(target, kind="file")
    monkeypatch.chdir(target)
    with pytest.raises(InputError, match="is or holds the current folder"):
        check_target(target, overwrite=True)
    with pytest.raises(InputError, match="root of a disk"):
        check_target(Path("/proc"), overwrite=True)
    assert names(tmp_path) == ["dangling", "file", "target"]


def test_disk_that_fails(target: Path) -> None:
    with (
        pytest.raises(InputError, match=r"can't write .*target: No space left on device; make room"),
        whole_folder(target),
    ):
        raise OSError(28, "No space left on device")
    with pytest.raises(InputError, match=r"can't write .*target: Is a directory"), whole_folder(target) as new:
        new.write_text("x")
    with pytest.raises(FileNotFoundError), whole_folder(target):  # a file to read: not for this message
        Path("nowhere").read_text()
    assert content(target) == {"old": "old"}
