"""The results as the table of docs/explanation/attacks.md, between its two marks."""

from pathlib import Path
from typing import Final

from attacks.areas import KINDS
from attacks.verdict import Json

BEGIN, END = "<!-- results: python -m attacks --write -->\n", "<!-- end of results -->\n"
HEAD: Final = (
    "| risk | attack | bare counts | withheld below 15 | below 30 | released by throng | bar |\n"
    "|---|---|---|---|---|---|---|\n"
)


def fill(page: str, results: dict[str, Json]) -> str:
    """The page with the table of these results.

    Raises:
        ValueError: the page has no marks.
    """
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"the page has no {BEGIN.strip()} followed by {END.strip()}")
    return before + BEGIN + table(results) + END + after


def write(page: Path, results: dict[str, Json]) -> None:
    """Fill the page's file."""
    page.write_text(fill(page.read_text(encoding="utf-8"), results), encoding="utf-8")


def table(results: dict[str, Json]) -> str:
    """Markdown: one row an attack, and what it was tried on."""
    rows = [*_singling_out(results), *_linkability(results), *_inference(results)]
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows) + "\n" + _sizes(results)


def _singling_out(results: dict[str, Json]) -> list[list[str]]:
    member, inside = results["membership"], results["internal, village"]
    subtracted, names = results["differencing, town"], results["enumeration"]
    bound = f"at most {member['bound']:.3f}"
    ratio = [_pm(member[name]) for name in ("raw", "k=15", "k=30", "released")]
    differences = [_of(subtracted[name]["all"]) for name in ("k=15", "k=30", "released")]
    withheld = subtracted["released"]["all"]
    tried = f"{names['numbers']} numbers x {names['hashes']} hashes x {names['salts']} salts"
    return [
        ["singling out", "membership, likelihood ratio (AUC)", *ratio, bound],
        ["", "the same on the ledger, before withholding", "", "", "", _pm(member["mechanism"]), bound],
        [
            *("", "membership, logistic (AUC)", _pm(member["logistic, raw"])),
            *("", "", _pm(member["logistic, released"]), bound),
        ],
        ["", "withheld small counts by differences", "all told", *differences, f"guessing: {_guess(withheld)}"],
        [
            *("", f"enumeration: {tried}", f"{names['recovered inside, salt known']:.0%} inside, with the salt"),
            *("", "", f"{names['recovered from what left']} numbers", "0"),
        ],
        [
            *("", "unicity inside, 1 to 4 points, village", ", ".join(f"{v:.0%}" for v in inside["unicity"].values())),
            *("", "", "no ways leave", ""),
        ],
        [
            *("", "alone in one's two top zones inside, village", f"{inside['alone in their two top zones']:.0%}"),
            *("", "", "no ways leave", ""),
        ],
    ]


def _linkability(results: dict[str, Json]) -> list[list[str]]:
    linked = results["linkage"]
    inside = linked["inside"]
    return [
        [
            *("linkability", "pseudonyms of two days, equal or of equal rank", "", "", ""),
            f"{inside['same_name']:.2%}; {inside['by_rank']:.2%}",
            f"chance: {inside['chance']:.2%}",
        ],
        ["", "two days inside, by behaviour", f"{inside['by_way']:.0%}", "", "", "no ways leave", ""],
        [
            *("", "a second day by the first: counted; others"),
            *(_pair(linked[name]) for name in ("raw", "k=15", "k=30", "released")),
            "equal",
        ],
    ]


def _inference(results: dict[str, Json]) -> list[list[str]]:
    rows = []
    columns = ("raw", "k=15", "k=30", "released")
    for place in ("village", "town"):
        found, work = results[f"trajectories, {place}"], results[f"work from home, {place}"]
        lot = f"equal; by lot {found['by lot']['counted'][0]:.2f}"
        rows.append(["", f"ways recovered, {place}: counted; others", *(_pair(found[c]) for c in columns), lot])
        rows.append(["", f"work by home, {place}: counted; others", *(_pair(work[c]) for c in columns), _same(work)])
        for kind in KINDS:
            company = results[f"{kind} by company, {place}"]
            said = f"district of {kind} by company, {place}: counted; others"
            rows.append(["", said, *(_pair(company[c]) for c in columns), _same(company)])
    for kind in KINDS:
        of_two = results[f"{kind} by all else"]
        seen = [_pm(of_two[c]) for c in columns]
        rows.append(["", f"district of {kind}, of two, all else known", *seen, f"at most {of_two['bound']:.3f}"])
        ledger = _pm(of_two["mechanism"])
        rows.append(
            ["", "the same on the ledger, before withholding", "", "", "", ledger, f"at most {of_two['bound']:.3f}"]
        )
    rows[0][0] = "inference"
    return rows


def _same(found: Json) -> str:
    return f"equal; always the same {found['released']['always the same'][0]:.2f}"


def _sizes(results: dict[str, Json]) -> str:
    size = results["size"]
    towns = [
        f"{name}: {s['people']} people of whom {s['counted']} are counted, {s['zones']} zones, {s['days']} days, "
        f"seed {s['seed']}"
        for name, s in ((name, size[name]) for name in ("village", "town"))
    ]
    return (
        f"({'; '.join(towns)}. Membership: {size['targets']} targets in {size['releases']} releases of each of the "
        "town's days. "
        f"Whereabouts of at most {size['people']} people a group. ± is a standard error.)\n"
    )


def _pm(value: list[float]) -> str:
    return f"{value[0]:.3f}" + (f" ± {value[1]:.3f}" if value[1] else "")


def _pair(values: Json) -> str:
    return f"{values['counted'][0]:.3f} ± {values['counted'][1]:.3f}; {values['others'][0]:.3f}"


def _of(found: Json) -> str:
    return f"{found['exact']} of {found['tried']}"


def _guess(found: Json) -> str:
    return f"{found['guess']} of {found['tried']}"
