"""Passwords in addresses: never shown, and stored only in a file that its owner alone can read.

An address of a database or of MLflow is shown and written down with `***` for its passwords. The
whole address is kept in the run's `secrets.json` (mode 0600); what is not there comes from the
environment (`VARIABLES`).
"""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote

from zoneout_core.errors import ConfigError
from zoneout_core.formats import FORMATS, stated

MASK = "***"
FILE = "secrets.json"
VARIABLES = {
    "storage": ("ZONEOUT_STORAGE_PASSWORD", "PGPASSWORD"),
    "tracking": ("ZONEOUT_TRACKING_PASSWORD", "MLFLOW_TRACKING_PASSWORD"),
}
"""Of each address, the variables that may hold its password: ours, which goes before the file, and
what others read."""
OPTIONS = {"storage": "--set storage=URL", "tracking": "--tracking URL"}
WORD = 8
"""Characters; a shorter password is masked where it is a whole word, lest it be found within
others."""

_USER = re.compile(
    # The password ends at the last @ before the path; or, where a slash in it was not encoded, at
    # the last of all.
    r"(?P<before>://[^:/@?#\s\"]*:)(?P<secret>[^\s\"/?#]*(?=@)|[^\s\"]*(?=@))"
)
_QUERY = re.compile(
    r"(?P<before>[?&;][\w.-]{0,40}(?:password|passwd|pwd|passphrase|token|secret|api_?key)=)(?P<secret>[^&;#\s\"']+)",
    re.IGNORECASE,
)
_known: dict[str, re.Pattern[str]] = {}


def mask(text: str) -> str:
    """`text` without passwords: those of any address in it, and those of every address this process
    has met."""
    for _, pattern in sorted(_known.items(), key=lambda known: -len(known[0])):
        text = pattern.sub(MASK, text)
    for pattern in (_USER, _QUERY):
        text = pattern.sub(rf"\g<before>{MASK}", text)
    return text


def shown(address: str) -> str:
    """`address` as it is shown and written down. `mask` knows its passwords from here on."""
    _remember(match["secret"] for pattern in (_USER, _QUERY) for match in pattern.finditer(address))
    return mask(address)


def whole(address: str, of: str, folder: Path | None = None) -> str:
    """`address` with its passwords: those it has, else from the environment, else from `folder` (a
    run's).

    of: a key of `VARIABLES`. Raises `ConfigError` with what to set when a password is nowhere.
    """
    ours, theirs = VARIABLES[of]
    if MASK not in address:
        if shown(address) != address:
            return _encoded(address)
        return _with_password(address, os.environ.get(ours, ""))
    if password := os.environ.get(ours):
        return _filled(address, password)
    if folder:
        kept = _read(folder).get(of, "")
    else:
        kept = ""
    if kept and shown(kept) == address:
        return _encoded(kept)
    if password := os.environ.get(theirs):
        return _filled(address, password)
    raise ConfigError(
        f"{of} {address} needs its password, which is neither in the environment nor in the run's"
        f" {FILE}. Set {ours}, or give the whole address again: {OPTIONS[of]}"
    )


def keep(folder: Path, of: str, address: str) -> None:
    """Make `folder` remember the whole of `address` if it has a password, and none if it has not.

    An address with `***` leaves what is there. Raises `OSError` when it cannot be written,
    `ConfigError` where files cannot be private.
    """
    kept = _read(folder)
    if MASK in address or kept.get(of, "") == address:
        return
    if shown(address) != address:
        kept[of] = address
    elif kept.pop(of, None) is None:
        return
    _write(folder / FILE, kept)


def _write(path: Path, kept: dict[str, str]) -> None:
    temporary = path.with_name(f"{FILE}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(
        os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w"
    ) as out:
        private = os.fstat(out.fileno()).st_mode & 0o077 == 0
        if private:
            json.dump({"format": FORMATS[FILE], **kept}, out, indent=2)
            out.flush()
            os.fsync(out.fileno())
    if not private:
        temporary.unlink()
        raise ConfigError(
            f"A password needs a file that its owner alone can read, but {path.parent} has none"
            f" such. Put {MASK} in its place, and the password into"
            f" {' or '.join(names[0] for names in VARIABLES.values())}."
        )
    temporary.replace(path)


def _read(folder: Path) -> dict[str, str]:
    """What a folder keeps: nothing when the file is not there, is another user's or is damaged.

    Raises `ConfigError` for a file of another format.
    """
    try:
        with os.fdopen(os.open(folder / FILE, os.O_RDONLY | os.O_NOFOLLOW)) as file:
            if os.fstat(file.fileno()).st_mode & 0o077:  # a copy, say
                os.fchmod(file.fileno(), 0o600)
            content = dict(json.load(file))
    except (OSError, ValueError, TypeError):
        return {}
    number = content.pop("format", None)
    if number != FORMATS[FILE]:
        raise ConfigError(
            f"This version reads a {FILE} of format {FORMATS[FILE]}, but {folder / FILE} is"
            f" {stated(number)}. Delete it, and give the whole address again:"
            f" {' or '.join(OPTIONS.values())}"
        )
    return {str(of): str(address) for of, address in content.items()}


def _filled(address: str, password: str) -> str:
    _remember([quote(password, safe="")])
    return address.replace(MASK, quote(password, safe=""))


def _with_password(address: str, password: str) -> str:
    """`scheme://user@host` with the password of that user."""
    parts = re.match(r"([a-z][a-z0-9+.-]*://[^:/@?#\s]+)(@.*)", address, re.IGNORECASE)
    if parts and password:
        return _filled(f"{parts[1]}:{MASK}{parts[2]}", password)
    return address


def _encoded(address: str) -> str:
    """A database's address with what is not allowed in a password encoded; else a part of it passes
    for the host."""
    if address.lower().startswith(("http://", "https://")):
        return address
    return _USER.sub(
        lambda match: match["before"] + quote(match["secret"], safe="%!$&'()*+,;=~"), address
    )


def _remember(secrets: Iterable[str]) -> None:
    """All forms in which a password of an address may turn up: decoded, encoded, and quoted by
    Python or JSON."""
    for secret in secrets:
        plain = unquote(secret)
        forms = {
            secret,
            plain,
            quote(plain, safe=""),
            quote_plus(plain),
            repr(plain)[1:-1],
            json.dumps(plain)[1:-1],
        }
        for form in forms - {"", MASK}:
            if len(form) < WORD:
                edges = ("(?<!\\w)", "(?!\\w)")
            else:
                edges = ("", "")
            _known[form] = re.compile(f"{edges[0]}{re.escape(form)}{edges[1]}")
