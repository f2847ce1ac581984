"""Every `throng` command in the README, on the pages and in the commands' own help is one that there is."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from streams.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```[a-z]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
CALLED = re.compile(r"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?throng ([a-z].*)")


def leaves(group: click.Group, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands, by their words."""
    with click.Context(group) as context:
        for each in group.list_commands(context):
            command = group.get_command(context, each)
            assert command is not None
            if isinstance(command, click.Group):
                yield from leaves(command, (*name, each))
            else:
                yield (*name, each), command


LEAVES = dict(leaves(cli))
GROUPS = {name[0] for name in LEAVES if len(name) > 1}


def calls(line: str) -> Iterator[str]:
    for part in re.split(r" \| | && |\$\(", line.split(" # ")[0]):
        if found := CALLED.match(part.strip()):
            yield found[1].rstrip(" &\\|)")


def written() -> list[tuple[str, str]]:
    """(where, command) of every fenced line, code span and example that calls throng."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line for block in FENCED.findall(text) for line in block.splitlines()]
        lines += re.findall(r"`([^`\n]+)`", FENCED.sub("", text))
        found += [(str(page.relative_to(ROOT)), call) for line in lines for call in calls(line)]
    helps = [(" ".join(name), command.epilog or "") for name, command in LEAVES.items()]
    return found + [
        (f"throng {name} --help", call) for name, text in helps for line in text.splitlines() for call in calls(line)
    ]


@pytest.mark.parametrize(("where", "call"), written())
def test_a_command_that_is_written_down_is_there_with_its_options(where: str, call: str) -> None:
    words = [word for word in shlex.split(call, comments=True) if word not in ("…", "...")]
    if words[0] in GROUPS and len(words) == 1:
        return
    name = tuple(words[: 1 + (words[0] in GROUPS)])
    assert name in LEAVES
    command = LEAVES[name]
    context = click.Context(command)
    try:
        given, _, _ = command.make_parser(context).parse_args(words[len(name) :])
    except click.BadOptionUsage:  # an option is named without its value, in prose
        assert where.endswith("settings.md")
        return
    for option in command.params:
        value = given.get(option.name or "")
        if isinstance(value, str) and not isinstance(option.type, click.Path | click.File):
            option.type.convert(value, option, context)


@pytest.mark.parametrize("name", LEAVES, ids=" ".join)
def test_the_help_of_what_takes_something_shows_an_example_of_it(name: tuple[str, ...]) -> None:
    command = LEAVES[name]
    own = {option.name for option in command.params} - {"config", "namespace", "kafka", "redis", "help"}
    if own - {"json", "as_json"}:
        assert f"throng {' '.join(name)}" in (command.epilog or "")


def test_this_test_finds_what_is_written() -> None:
    assert len(written()) > 140
    with pytest.raises(click.NoSuchOption):
        test_a_command_that_is_written_down_is_there_with_its_options("", "replay x.parquet --fast")
