"""SIGTERM as Ctrl-C, for commands that have something to end: `timeout 600 throng record` keeps what it has."""

import signal
import threading
from types import FrameType


def stopped_by_term() -> None:
    """From now on; in another thread than the main one, to which no signal comes, nothing is changed."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupted)


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # behind an `&` in a script
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)
