"""Passwords in addresses: never shown, and stored only where nobody but their owner can read them.

The address of a database or of MLflow is shown and stored with `***` for its passwords. The run's
`secrets.json` (mode 0600) keeps the whole address; a password that is not there comes from the
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
"""For each purpose of an address, the variables that may hold its password: ours, which takes
precedence over the file, and the one that other programs read."""
OPTIONS = {"storage": "--set storage=URL", "tracking": "--tracking URL"}
WORD = 8
"""Characters. A shorter password is masked only where it is a word of its own, lest parts of other
words be masked."""

_USER = re.compile(
    # The password ends at the last @ before the path; if it has a slash that was not encoded, at
    # the very last @.
    r"(?P<before>://[^:/@?#\s\"]*:)(?P<secret>[^\s\"/?#]*(?=@)|[^\s\"]*(?=@))"
)
_QUERY = re.compile(
    r"(?P<before>[?&;][\w.-]{0,40}(?:password|passwd|pwd|passphrase|token|secret|api_?key)=)"
    r"(?P<secret>[^&;#\s\"']+)",
    re.IGNORECASE,
)
_known: dict[str, re.Pattern[str]] = {}


def mask(text: str) -> str:
    """`text` without passwords: those of addresses in it, and those of every address that this
    process has seen."""
    for _, pattern in sorted(_known.items(), key=lambda known: -len(known[0])):
        text = pattern.sub(MASK, text)
    for pattern in (_USER, _QUERY):
        text = pattern.sub(rf"\g<before>{MASK}", text)
    return text


def shown(address: str) -> str:
    """`address` as it is shown and stored. From now on `mask` knows its passwords."""
    _remember(match["secret"] for pattern in (_USER, _QUERY) for match in pattern.finditer(address))
    return mask(address)


def unmask(address: str, purpose: str, folder: Path | None = None) -> str:
    """`address` with its passwords: its own, else from the environment, else from the run's
    `folder`.

    purpose: a key of `VARIABLES`. Raises `ConfigError`, saying what to set, when a password is
    nowhere.
    """
    ours, theirs = VARIABLES[purpose]
    if MASK not in address:
        if shown(address) != address:
            return _encoded(address)
        return _with_password(address, os.environ.get(ours, ""))
    if password := os.environ.get(ours):
        return _filled(address, password)
    if folder:
        stored = _read(folder).get(purpose, "")
    else:
        stored = ""
    if stored and shown(stored) == address:
        return _encoded(stored)
    if password := os.environ.get(theirs):
        return _filled(address, password)
    raise ConfigError(
        f"{purpose} {address} needs its password, which is neither in the environment nor in the"
        f" run's {FILE}. Set {ours}, or give the whole address again: {OPTIONS[purpose]}"
    )


def keep(folder: Path, purpose: str, address: str) -> None:
    """Store `address` in `folder` if it has a password; otherwise forget the one stored before.

    An address with `***` changes nothing. Raises `OSError` when the file cannot be written, and
    `ConfigError` where files cannot be private.
    """
    addresses = _read(folder)
    if MASK in address or addresses.get(purpose, "") == address:
        return
    if shown(address) != address:
        addresses[purpose] = address
    elif addresses.pop(purpose, None) is None:
        return
    _write(folder / FILE, addresses)


def _write(path: Path, addresses: dict[str, str]) -> None:
    temporary = path.with_name(f"{FILE}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(
        os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w"
    ) as out:
        is_private = os.fstat(out.fileno()).st_mode & 0o077 == 0
        if is_private:
            json.dump({"format": FORMATS[FILE], **addresses}, out, indent=2)
            out.flush()
            os.fsync(out.fileno())
    if not is_private:
        temporary.unlink()
        raise ConfigError(
            f"A password needs a file that its owner alone can read, but {path.parent} has none"
            f" such. Put {MASK} in its place, and the password into"
            f" {' or '.join(names[0] for names in VARIABLES.values())}."
        )
    temporary.replace(path)


def _read(folder: Path) -> dict[str, str]:
    """The stored addresses, by purpose. Empty when the file is missing, damaged, or another user's.

    Raises `ConfigError` for a file of another format.
    """
    try:
        with os.fdopen(os.open(folder / FILE, os.O_RDONLY | os.O_NOFOLLOW)) as file:
            if os.fstat(file.fileno()).st_mode & 0o077:  # such as a copy
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
    return {str(purpose): str(address) for purpose, address in content.items()}


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
    """A database's address with the special characters of its password encoded; otherwise part of
    the password would pass for the host."""
    if address.lower().startswith(("http://", "https://")):
        return address
    return _USER.sub(
        lambda match: match["before"] + quote(match["secret"], safe="%!$&'()*+,;=~"), address
    )


def _remember(passwords: Iterable[str]) -> None:
    """Have `mask` know these passwords in every form in which they may turn up: decoded, encoded,
    and quoted by Python or JSON."""
    for password in passwords:
        plain = unquote(password)
        forms = {
            password,
            plain,
            quote(plain, safe=""),
            quote_plus(plain),
            repr(plain)[1:-1],
            json.dumps(plain)[1:-1],
        }
        for form in forms - {"", MASK}:
            pattern = re.escape(form)
            if len(form) < WORD:
                pattern = f"(?<!\\w){pattern}(?!\\w)"
            _known[form] = re.compile(pattern)
