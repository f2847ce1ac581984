"""The guard of an ephemeral stack: a process that outlives its owner for a moment, to end what the owner left.

Its standard input is a pipe from the owner. A line means that the owner has cleaned up itself; the end of the pipe
without one means that the owner is gone, by whatever signal. (Linux could tie the servers' lives to the owner's by
PR_SET_PDEATHSIG, but to its starting *thread*, and macOS has nothing like it.)
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2]


def post(folder: Path, *, remove_folder: bool) -> "subprocess.Popen[bytes]":
    """Start the guard of the stack in `folder`; `remove_folder` if nothing of it is to stay."""
    environ = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-m", "streams.local.guard", str(folder), "all" if remove_folder else "data"]
    return subprocess.Popen(
        command,
        cwd="/",
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def dismiss(guard: "subprocess.Popen[bytes]") -> None:
    """Tell the guard that all is done."""
    try:
        guard.communicate(b"done\n", timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        guard.kill()
        guard.wait()


def main() -> None:
    folder, what = Path(sys.argv[1]), sys.argv[2]
    if sys.stdin.readline():
        return
    # Imported only now: a guard mostly sleeps.
    from streams.local.processes import end
    from streams.local.state import read_state

    state = read_state(folder)
    end(state.processes if state else [], 0)
    shutil.rmtree(folder if what == "all" else folder / "data", ignore_errors=True)
    (folder / "state.json").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
