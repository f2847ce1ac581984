"""The settings reference page, made of the settings themselves."""

from typing import Annotated, get_args, get_origin, get_type_hints

from msgspec import Meta

from streams.settings.sections import SECTIONS


def reference() -> str:
    """The settings reference page, in Markdown."""
    lines = [
        "# Settings",
        "",
        "Generated from `streams/settings` by `python -m streams.settings`; do not edit.",
        "",
        "A setting comes from the command line, else the environment, else the file given with `--config` (TOML), else",
        "its default. `gateway.flush_ms` stands as `flush_ms` under `[gateway]` in the file, and as",
        "`THRONG_GATEWAY_FLUSH_MS` in the environment.",
    ]
    for section, kind in SECTIONS.items():
        lines += [
            "",
            f"## {section}",
            "",
            (kind.__doc__ or "").strip(),
            "",
            "| setting | default | meaning |",
            "|---|---|---|",
        ]
        defaults = kind()
        for field, hint in get_type_hints(kind, include_extras=True).items():
            meta = get_args(hint)[1] if get_origin(hint) is Annotated else Meta()
            default = getattr(defaults, field)
            shown = f"`{str(default).lower() if isinstance(default, bool) else default}`" if default != "" else "empty"
            lines.append(f"| `{section}.{field}` | {shown} | {meta.description}{_bounds(meta)} |")
    return "\n".join(lines) + "\n"


def _bounds(meta: Meta) -> str:
    low = meta.ge if meta.ge is not None else meta.gt
    high = meta.le if meta.le is not None else meta.lt
    return f" ({low} to {high})" if low is not None else ""
