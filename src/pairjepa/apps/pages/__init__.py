"""What our HTML pages share: one look, light and dark, and the way an offline page is made.

A page is a package with `page.html` (a Jinja template that extends `base.html`) and its CSS and JavaScript files.
"""

import base64
import hashlib
from importlib import resources
from typing import Any

from pairjepa.util.errors import needs
from pairjepa.util.words import counted


def offline_page(package: str, **values: Any) -> str:
    """One HTML file that loads nothing: `page.html` of `package` with all `*.css` and `*.js` there, by name, in it.

    The template fills the blocks `title` and `body`. All values are escaped; data for the script go through Jinja's
    `tojson`, which escapes `<`, into `<script type="application/json">`. The page's own policy (CSP) lets it run this
    script and use this style alone, so there can be no `style=` or `onclick=` in the template.

    Args:
        package: dotted name of the package that holds the files.
        values: what the template is given.

    Raises:
        PairJEPAError: Jinja is not installed.
    """
    with needs("jinja2", "report"):
        import jinja2
        from markupsafe import Markup
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(name, "") for name in (package, "pairjepa.apps.pages")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["counted"] = counted
    environment.policies["json.dumps_kwargs"] = {
        "allow_nan": False,
        "ensure_ascii": False,
        "separators": (",", ":"),
    }
    css, script = (_all(__name__, suffix) + _all(package, suffix) for suffix in (".css", ".js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(css)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    template = environment.get_template("page.html")
    return template.render(policy=policy, style=Markup(css), script=Markup(script), **values)


def page_text(package: str, file: str) -> str:
    """Of a file beside a page, or of ours: `base.css` is the look of all pages, `theme.js` turns it light or dark."""
    return (resources.files(package) / file).read_text(encoding="utf-8")


def _all(package: str, suffix: str) -> str:
    names = sorted(file.name for file in resources.files(package).iterdir())
    return "".join(page_text(package, name) for name in names if name.endswith(suffix))


def _hash(text: str) -> str:
    """A Content Security Policy source that allows exactly this inline text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
