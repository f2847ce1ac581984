"""aiokafka's own code with other names in it, for one object alone.

In: an object and one of its methods that names a global of its module. Out: the method, bound once more to this object
with other globals; other objects, and the module, are as they were. The method has to name what is exchanged
(`tests/unit/test_transport_contract.py` holds what comes of it against stock aiokafka).
"""

from types import FunctionType, MethodType


def rebind(owner: object, method: str, **names: object) -> None:
    """Make the object's method see these in place of its module's globals of that name."""
    stock = getattr(type(owner), method)
    known = {**stock.__globals__, **names}
    bound = FunctionType(stock.__code__, known, stock.__name__, stock.__defaults__, stock.__closure__)
    bound.__kwdefaults__ = stock.__kwdefaults__
    setattr(owner, method, MethodType(bound, owner))
