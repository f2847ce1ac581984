"""Reads the countries' policies, one TOML file each."""

import tomllib
from pathlib import Path

import msgspec

from schemas.policy import Policy
from streams.errors import ThrongError
from streams.settings import Settings

SHIPPED = Path(__file__).parents[2] / "policies"


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


def _load(file: Path) -> Policy:
    try:
        return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), Policy)
    except OSError as error:
        raise ThrongError("policy", f"cannot read the policy {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ThrongError("policy", f"the policy {file} is not as expected: {error}") from error
