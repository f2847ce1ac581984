"""Rules that stay as they are, for tests of something else."""

from schemas.epochs import Epoch
from streams.core.gateway.gateway import Context
from streams.core.rules.rules import Told


class SettledRules:
    """Always fresh; a gateway judges by `context`, a release may tell all."""

    def __init__(self, context: Context | None = None) -> None:
        self._context = context

    def fresh(self) -> bool:
        return True

    def at(self, _: int) -> Context:
        assert self._context is not None
        return self._context

    async def read(self) -> None: ...

    def of(self, epoch: Epoch) -> Told:
        return Told(epoch, "", 0)

    def now(self) -> str:
        return ""
