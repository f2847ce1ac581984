"""Reads what a deployment's rules are to be: the countries' policies, one TOML file each, and the file of measures."""

import tomllib
from pathlib import Path
from typing import cast

import msgspec

from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.policy import Policy, Purpose, Rulebook
from streams.core.rules.soundness import problems
from streams.errors import ThrongError
from streams.settings import Settings

SHIPPED = Path(__file__).parents[2] / "policies"


class MeasuresFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of measures: `[[measure]]` tables with the fields of `schemas.measures.Measure`."""

    measure: tuple[Measure, ...]


def load_policies(folder: Path = SHIPPED) -> list[Policy]:
    """All policies of a folder, by file name.

    Raises:
        ThrongError: `policy`, naming the file and what is wrong.
    """
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise ThrongError("policy", f"there is no policy (*.toml) in {folder}: set gateway.policies")
    policies = [_load(file) for file in files]
    seen: set[str] = set()
    for policy in policies:
        for mcc in policy.mccs:
            if mcc in seen:
                raise ThrongError("policy", f"two policies in {folder} claim the country code {mcc}")
            seen.add(mcc)
    return policies


def configured_policies(settings: Settings) -> list[Policy]:
    """The policies of the deployment: of its own folder if it names one, else those shipped.

    Raises:
        ThrongError: `policy`, naming the file and what is wrong.
    """
    return load_policies(Path(settings.gateway.policies) if settings.gateway.policies else SHIPPED)


def load_measures(file: Path) -> tuple[Measure, ...]:
    """The measures of a file.

    Raises:
        ThrongError: `measures`, naming the file and what is wrong.
    """
    try:
        return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8-sig")), MeasuresFile).measure
    except OSError as error:
        raise ThrongError("measures", f"cannot read the measures {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ThrongError("measures", f"the measures {file} are not as expected: {error}") from error


def configured_rules(settings: Settings) -> Rulebook:
    """All that the deployment's files and settings say of what may be counted and told.

    Raises:
        ThrongError: `policy` or `measures`, naming the file and what is wrong, or what does not add up.
    """
    measures = load_measures(Path(settings.release.measures)) if settings.release.measures else DEFAULT_MEASURES
    rules = Rulebook(tuple(configured_policies(settings)), measures, cast(Purpose, settings.gateway.purpose))
    for problem in problems(rules):
        raise ThrongError("policy", problem)
    return rules


def _load(file: Path) -> Policy:
    try:
        return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8-sig")), Policy)
    except OSError as error:
        raise ThrongError("policy", f"cannot read the policy {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ThrongError("policy", f"the policy {file} is not as expected: {error}") from error
