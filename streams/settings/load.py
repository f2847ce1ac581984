"""From a TOML file, the environment and the command line to one value, and back to an environment."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from streams.errors import ThrongError
from streams.settings.checks import check
from streams.settings.sections import SECTIONS, Settings
from streams.settings.servers import SECRET

ENV_PREFIX: Final = "THRONG_"
# How alike the name of a section and a word are that was surely meant for it, from 0 to 1.
MISSPELT: Final = 0.75


def load_settings(
    config: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from the file, the environment and `overrides` ({"kafka.bootstrap": ...}), each over the one before.

    Raises:
        ThrongError: `config` if the file can't be read, a name is unknown or a value is not allowed.
    """
    tree: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    if config is not None:
        _merge_file(tree, config)
    for name, value in (os.environ if environ is None else environ).items():
        if name.startswith(ENV_PREFIX) and (found := _env_target(name)):
            tree[found[0]][found[1]] = value
    for dotted, override in (overrides or {}).items():
        section, _, field = dotted.partition(".")
        tree[section][field] = override
    sections: dict[str, Any] = {name: _section(name, kind, tree[name]) for name, kind in SECTIONS.items()}
    settings = Settings(**sections)
    check(settings)
    return settings


def to_environ(settings: Settings) -> dict[str, str]:
    """The environment that makes `load_settings` give the same settings in a child process."""
    return {
        f"{ENV_PREFIX}{section}_{field}".upper(): str(getattr(getattr(settings, section), field))
        for section, kind in SECTIONS.items()
        for field in kind.__struct_fields__
    }


def _merge_file(tree: dict[str, dict[str, object]], config: Path) -> None:
    try:
        read = tomllib.loads(config.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ThrongError("config", f"cannot read the settings file {config}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ThrongError("config", f"the settings file {config} is not TOML: {error}") from error
    for section, values in read.items():
        if section not in SECTIONS:
            raise ThrongError("config", f"unknown section [{section}] in {config}; known: {', '.join(SECTIONS)}")
        if not isinstance(values, dict):
            raise ThrongError("config", f"{section} in {config} must be a section: [{section}]")
        tree[section].update(values)


def _env_target(name: str) -> tuple[str, str] | None:
    rest = name.removeprefix(ENV_PREFIX).lower()
    for section, kind in SECTIONS.items():
        field = rest.removeprefix(section + "_")
        if field != rest and field not in kind.__struct_fields__:
            known = ", ".join(kind.__struct_fields__)
            raise ThrongError("config", f"unknown setting {name} in the environment; [{section}] has: {known}")
        if field != rest:
            return section, field
    # Others may have variables with this beginning (a shell, an orchestrator's links to services), so not all are ours.
    word, named, _ = rest.partition("_")
    if named and (meant := difflib.get_close_matches(word, SECTIONS, 1, MISSPELT)):
        raise ThrongError(
            "config", f"unknown setting {name} in the environment: is {ENV_PREFIX}{meant[0].upper()}_… meant?"
        )
    return None


def _section(name: str, kind: type[msgspec.Struct], values: dict[str, object]) -> msgspec.Struct:
    for field, value in values.items():
        if field not in kind.__struct_fields__:
            known = ", ".join(kind.__struct_fields__)
            raise ThrongError("config", f"unknown setting {name}.{field}; [{name}] has: {known}")
        try:
            # Text from the environment may stand for a number or a truth value; a file's types are kept.
            msgspec.convert({field: value}, kind, strict=not isinstance(value, str))
        except msgspec.ValidationError as error:
            reason = str(error).split(" - at ")[0]
            shown = "..." if field in SECRET else repr(value)
            raise ThrongError("config", f"setting {name}.{field} = {shown} is not allowed: {reason}") from error
    return msgspec.convert(values, kind, strict=False)
