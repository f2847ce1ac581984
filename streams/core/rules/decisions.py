"""What a decision makes of the rules: a country suspended or resumed, files applied. Pure; the log is the caller's.

Files say how a country is to be counted, commands whether it is: applying files may suspend a country, but never
resumes one, nor forgets that it is suspended.
"""

from msgspec.structs import replace

from schemas.policy import Policy, Rulebook
from streams.core.rules.rules import by_code
from streams.errors import ThrongError


def suspended(rules: Rulebook, country: str) -> Rulebook:
    """The rules with a country (by name or code) suspended; the same if it is. One without a policy gets one.

    Raises:
        ThrongError: `usage` if it is no country code and no policy has its name.
    """
    found = find(rules, country)
    if found is not None:
        return _with_state(rules, found, "suspended")
    if not (country.isdigit() and len(country) == 3 and country[0] in "234567"):
        names = ", ".join(policy.country for policy in rules.policies)
        raise ThrongError("usage", f"there is no policy for {country!r}: name one of {names}, or a mobile country code")
    strict = Policy(
        country=f"MCC {country}",
        mccs=(country,),
        state="suspended",
        basis="opt_in",
        purposes=(),
        minimum_age=18,
        inbound_roamers=False,
        excluded_zones=(),
        k=max(policy.k for policy in rules.policies),
        epsilon=min(policy.epsilon for policy in rules.policies),
        delta=min(policy.delta for policy in rules.policies),
        note="suspended by command; it had no policy",
    )
    return replace(rules, policies=(*rules.policies, strict))


def resumed(rules: Rulebook, country: str) -> Rulebook:
    """The rules with a country active again.

    Raises:
        ThrongError: `usage` if it has no policy.
    """
    found = find(rules, country)
    if found is None:
        names = ", ".join(policy.country for policy in rules.policies)
        raise ThrongError("usage", f"there is no policy for {country!r}: name one of {names}, or its code")
    return _with_state(rules, found, "active")


def applied(rules: Rulebook, files: Rulebook) -> Rulebook:
    """The rules as files say, but for what is suspended."""
    now = by_code(rules)
    stopped = {mcc for mcc, policy in now.items() if policy.state == "suspended"}
    policies = [
        replace(policy, state="suspended") if stopped.intersection(policy.mccs) else policy for policy in files.policies
    ]
    named = by_code(files)
    for policy in rules.policies:
        left = tuple(mcc for mcc in policy.mccs if mcc not in named)
        if policy.state == "suspended" and left:
            policies.append(replace(policy, mccs=left))
    return replace(files, policies=tuple(policies))


def find(rules: Rulebook, country: str) -> Policy | None:
    """The policy of a country, by its name or one of its codes."""
    wanted = country.casefold()
    return next((p for p in rules.policies if p.country.casefold() == wanted or country in p.mccs), None)


def _with_state(rules: Rulebook, found: Policy, state: str) -> Rulebook:
    changed = replace(found, state=state)
    return replace(rules, policies=tuple(changed if policy is found else policy for policy in rules.policies))
