"""Recorded entries that the stand-in does not reproduce, each with its reason: at most twenty."""

EXEMPT: dict[str, str] = {
    "[state] CLI maintenance mode (maintenance.php --enable: climaintenance.html)": (
        "the page's style sheet is not reproduced; status, type, Retry-After and title are, in another test"
    ),
    "[state] CLI maintenance mode, create": "the same page",
}
