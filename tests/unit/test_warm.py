"""What `make setup` compiles: all that Python calls, so that no command and no worker compiles at its first use."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Each compiles what it decorates.
COMPILERS = {"njit", "kernel", "inlined"}
WARMED = """
import importlib, sys
from streams import warm

warm.main()
for line in sys.stdin:
    module, name = line.split()
    if not getattr(importlib.import_module(module), name).signatures:
        print(module, name)
"""


def trees() -> dict[str, ast.Module]:
    files = sorted(Path("streams").rglob("*.py"))
    return {".".join(path.with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8")) for path in files}


def compiles(function: ast.stmt) -> bool:
    decorators = function.decorator_list if isinstance(function, ast.FunctionDef) else []
    called = [each.func if isinstance(each, ast.Call) else each for each in decorators]
    return any(isinstance(each, ast.Name) and each.id in COMPILERS for each in called)


def calls(node: ast.AST) -> Iterator[str]:
    """The names that are called, but not within what is compiled."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Name):
            yield child.func.id
        if not (isinstance(child, ast.FunctionDef) and compiles(child)):
            yield from calls(child)


def called_by_python() -> set[tuple[str, str]]:
    """The compiled functions that are called from elsewhere, by module and name."""
    modules = trees()
    compiled = {
        (module, each.name)
        for module, tree in modules.items()
        for each in tree.body
        if isinstance(each, ast.FunctionDef) and compiles(each)
    }
    found = set()
    for module, tree in modules.items():
        known = {name: (module, name) for _, name in compiled}
        for each in ast.walk(tree):
            if isinstance(each, ast.ImportFrom) and each.module:
                known |= {one.asname or one.name: (each.module, one.name) for one in each.names}
        found |= {known[name] for name in calls(tree) if known.get(name) in compiled}
    return found


def test_all_that_python_calls_is_compiled_by_make_setup() -> None:
    called = called_by_python()
    assert {("streams.core.events.scan", "scan"), ("streams.core.gateway.screening", "screen_rows")} <= called
    said = "".join(f"{module} {name}\n" for module, name in sorted(called))
    ran = subprocess.run([sys.executable, "-c", WARMED], input=said, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split("\n")[:-1] == []
