"""Templates: nothing inline, everything escaped, undefined names are errors.

They are in French, with English in `locale/en.po`. A number can be asked: `is student`, `is guest`.
"""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from schemas.account import is_guests, is_students
from schemas.language import Language
from sesame.web.kit.assets import Assets
from sesame.web.kit.languages import translations


def environment(room: str, language: Language, assets: Assets | None = None) -> Environment:
    """The templates of a room, in one language.

    Args:
        room: the package that has them in its folder `templates`.
        assets: `asset('portal.css')` in a template is this file's address.
    """
    made = Environment(
        loader=PackageLoader(room, "templates"),
        autoescape=select_autoescape(("html", "svg")),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    if assets is not None:
        made.globals["asset"] = assets.address
    made.tests |= {"student": is_students, "guest": is_guests}
    made.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    return made
