"""What lies in a running process's memory, and in files: a search for secrets."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from streams.core.gateway.pseudonyms import key_state

PAGE = 4096
WRITABLE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw")
MOST = 1 << 30


def memory_of(pid: int) -> Iterator[bytes]:
    """Each writable region of the process, freed heap and stacks too, as `written` gives it."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if not (bounds := WRITABLE.match(line)) or "[vvar" in line:
                continue
            start, end = (int(number, 16) for number in bounds.groups())
            try:
                memory.seek(start)
                region = memory.read(min(end - start, MOST)) or b""
            except (OSError, OverflowError):
                continue  # unmapped meanwhile
            yield from written(region)


def written(region: bytes) -> Iterator[bytes]:
    """A region's stretches of pages that are not all zeros: nine in ten bytes that a worker may write to it never did.

    With a page on each side, of which what ends or begins in zeros may need some.
    """
    words = np.frombuffer(region, np.uint8, len(region) // PAGE * PAGE).view(np.uint64).reshape(-1, PAGE // 8)
    busy = np.append(words.any(axis=1), len(region) % PAGE > 0)
    near = busy.copy()
    near[1:] |= busy[:-1]
    near[:-1] |= busy[1:]
    edges = np.flatnonzero(np.diff(near, prepend=False, append=False))
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield region[first * PAGE : last * PAGE]


def forms_of(salt: bytes, key: bytes) -> dict[str, bytes]:
    """All that a salt's secrets look like in a worker: the key that sealed it, the salt, its words as Python's numbers
    (of 30 bits a digit), and the key state."""
    state = key_state(salt)
    found = {"key": key, "salt": salt, "half a salt": salt[16:], "state": state.tobytes()}
    for name, words in (("salt", np.frombuffer(salt, "<u8")), ("state", state)):
        for n, word in enumerate(words.tolist()):
            digits = [word >> shift & (1 << 30) - 1 for shift in (0, 30, 60)]
            found[f"word {n} of the {name}, as a number"] = np.array(digits, "<u4").tobytes()
    return found


def found_in(blobs: Iterable[bytes], secrets: Mapping[str, bytes]) -> set[str]:
    """The names of the secrets that lie in any of the blobs."""
    return {name for blob in blobs for name, secret in secrets.items() if _holds(blob, secret)}


def _holds(blob: bytes, secret: bytes) -> bool:
    """As `secret in blob`, which goes byte by byte through memory of zeros if there is a zero in the secret."""
    needle = max(secret.split(b"\0"), key=len)
    before = secret.index(needle)
    at = blob.find(needle)
    while at >= 0:
        if at >= before and blob.startswith(secret, at - before):
            return True
        at = blob.find(needle, at + 1)
    return False


def files_below(folder: Path, beginning: str = "") -> list[bytes]:
    """The files below a folder, in those of its folders whose names begin so."""
    folders = [each for each in folder.iterdir() if each.is_dir() and each.name.startswith(beginning)]
    tops = [folder] if not beginning else folders
    return [file.read_bytes() for top in tops for file in sorted(top.rglob("*")) if file.is_file()]


def leaves_core(pid: int) -> bool:
    """May a process leave a core dump if it crashes?"""
    limits = Path(f"/proc/{pid}/limits").read_text()
    return not re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)
