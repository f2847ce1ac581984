"""What the compiler made of a loop: read from the code that it kept, or has just made."""

from operator import attrgetter
from typing import Any, Final

import numpy as np
from numba.core.dispatcher import Dispatcher

# Both change a reference count, atomically.
COUNTS: Final = ("NRT_incref", "NRT_decref")


def counted_in_loops(compiled: Dispatcher, name: str) -> list[str]:
    """The arrays whose references the function `name`, itself or called by `compiled`, counts within a loop.

    Raises:
        LookupError: there is no such function: not compiled yet, or inlined.
    """
    found: list[str] = []
    functions = [
        function
        for library in map(attrgetter("library"), compiled.overloads.values())
        # What its public neighbours tell is nothing for code that was kept from an earlier run.
        for function in library._get_module_for_linking().functions
        if not function.is_declaration and _is(function, name)
    ]
    if not functions:
        raise LookupError(f"{compiled.__name__} calls no compiled {name}")
    for function in functions:
        blocks = list(function.blocks)
        in_loop = _in_loops(blocks)
        for block, looped in zip(blocks, in_loop, strict=True):
            if looped:
                found += [str(i).strip() for i in block.instructions if any(f"@{count}(" in str(i) for count in COUNTS)]
    return sorted(set(found))


def _is(function: Any, name: str) -> bool:
    # A mangled name has each part with its length before it; the wrappers for Python and C begin otherwise.
    return bool(function.name.startswith("_ZN")) and f"{len(name)}{name}B" in function.name


def _in_loops(blocks: list[Any]) -> list[bool]:
    """Is each block on a way that comes back to it?"""
    numbers = {block.name: number for number, block in enumerate(blocks)}
    leads_to = np.zeros((len(blocks), len(blocks)), np.float32)
    for block in blocks:
        for operand in list(block.instructions)[-1].operands:
            if operand.name in numbers:
                leads_to[numbers[block.name], numbers[operand.name]] = 1
    steps = 1
    while steps < len(blocks):
        leads_to = np.minimum(leads_to + leads_to @ leads_to, 1)
        steps *= 2
    return [bool(there) for there in leads_to.diagonal()]
