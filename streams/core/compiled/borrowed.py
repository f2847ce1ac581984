"""Arrays without their owners, for compiled loops that hand on many.

numba counts an array's references wherever a name or a small function takes it up, atomically: in a loop that hands a
dozen arrays on for each row that costs more than the work. The caller of the loop holds them all anyway.
"""

from collections.abc import Callable
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def borrowed(typing: Any, value: Any) -> tuple[Any, Callable[[Any, Any, Any, Any], Any]]:
    """The same array or tuple, whose references nobody counts: whoever passed it must hold it meanwhile."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _without_owner(context, builder, value, arguments[0])

    return value(value), build


def _without_owner(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        array = cgutils.create_struct_proxy(kind)(context, builder, value=value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        for place, each in enumerate(kind.types):
            part = _without_owner(context, builder, each, builder.extract_value(value, place))
            value = builder.insert_value(value, part, place)
    return value
