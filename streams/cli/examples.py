"""How a command's help shows what to type."""


def examples(*lines: str) -> str:
    """The end of a command's help: lines to copy, as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
