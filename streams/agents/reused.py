"""Whether memory can be used again: fresh memory would have to be zeroed by the kernel page by page.

In: a `bytearray`, whose views (`memoryview`, numpy's arrays over it, and slices of either) are all that is ever handed
out. Python itself counts them, and changes no length while there is one ("a bytearray would temporarily forbid
resizing", https://docs.python.org/3/library/stdtypes.html#memoryview.release). References to the bytearray say nothing,
and how many there are differs from one Python to the next.
"""


def looked_at(memory: bytearray) -> bool:
    """Whether any view of a bytearray, which isn't empty, is left. Its last byte may change if not."""
    try:
        memory.pop()
    except BufferError:
        return True
    memory.append(0)  # there is place for it: nothing is moved
    return False
