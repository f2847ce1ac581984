"""What long work tells of itself."""

import pytest

from streams.progress import Progress


def test_progress_is_told_at_once_and_then_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    moments = iter([0.0, 2.9, 3.0, 5.9, 6.5])
    told = Progress(lambda: next(moments))
    for number in range(5):
        told(f"step {number}")
    assert capsys.readouterr().out == "   step 0\n   step 2\n   step 4\n"
