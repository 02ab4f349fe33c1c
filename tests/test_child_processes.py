"""Processes that must not outlive the one that started them, killed for real."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

POOL = """
import multiprocessing, time
from concurrent.futures import ProcessPoolExecutor
from nnunet_pyconv.child_processes import end_with_parent

if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    with ProcessPoolExecutor(2, mp_context=context, initializer=end_with_parent) as pool:
        list(pool.map(abs, range(4)))  # until the workers are there
        busy = [pool.submit(time.sleep, 600) for _ in range(2)]
        print("ready", flush=True)
        time.sleep(600)
"""

FORKS = """
import multiprocessing, time
from nnunet_pyconv.child_processes import end_forks_with_this_process

end_forks_with_this_process()
context = multiprocessing.get_context("fork")

def work():
    context.Process(target=time.sleep, args=(600,)).start()
    print("ready", flush=True)
    time.sleep(600)

context.Process(target=work).start()
time.sleep(600)
"""

THREAD = """
import os, threading, time
from nnunet_pyconv.child_processes import end_forks_with_this_process

end_forks_with_this_process()
reader, writer = os.pipe()
def fork():
    if os.fork() == 0:
        time.sleep(0.2)
        os.write(writer, b"lives")
        os._exit(0)
thread = threading.Thread(target=fork)
thread.start()
thread.join()
print(os.read(reader, 5), flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(
    "code",
    [
        POOL.format(method="spawn"),
        pytest.param(POOL.format(method="fork"), marks=pytest.mark.skipif(sys.platform == "win32", reason="no fork")),
        pytest.param(FORKS, marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends forks so")),
    ],
    ids=["spawn", "fork", "forks-of-others"],
)
def test_they_end_with_a_killed_parent(code: str, number: signal.Signals, tmp_path: Path) -> None:
    file = tmp_path / "parent.py"
    file.write_text(code)
    with subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.send_signal(number)
    assert len(children) >= 2
    assert not psutil.wait_procs(children, timeout=10)[1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends forks so")
def test_fork_of_a_thread_that_ends(tmp_path: Path) -> None:
    """The kernel would take the thread's end for the parent's death."""
    done = subprocess.run([sys.executable, "-c", THREAD], capture_output=True, text=True, check=True)
    assert done.stdout == "b'lives'\n"


def test_every_pool_of_ours_has_the_initializer() -> None:
    root = Path(__file__).parents[1]
    pools = [
        node
        for folder in ("nnunet_pyconv", "dataset_conversion")
        for file in (root / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("ProcessPoolExecutor", "Pool")
    ]
    assert pools
    for pool in pools:
        initializers = [ast.unparse(word.value) for word in pool.keywords if word.arg == "initializer"]
        assert initializers in (["end_with_parent"], ["_begin"]), ast.unparse(pool)
