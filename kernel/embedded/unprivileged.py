"""How a server that refuses to run as root is started by root all the same.

The first way is a user namespace of the server's own: inside it root is an ordinary user, outside
the files stay root's, and no system user is needed. Where namespaces are refused (most containers), a
system user runs the server.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from typing import Final

from kernel.embedded.errors import CannotDropRootError

SYSTEM_USER: Final = "realserv"
OWN_NAMESPACE: Final = ("unshare", "-U", "--map-user=1000", "--map-group=1000")


@dataclass(frozen=True, slots=True)
class Unprivileged:
    """Programs that lay root down and become the server, and who must own the server's data."""

    launcher: tuple[str, ...]
    owner: int


def unprivileged(*, system_user: str | None = None) -> Unprivileged:
    """Return the way for this process; naming a system user takes that way at once."""
    if os.geteuid() != 0:
        return Unprivileged((), os.geteuid())
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise CannotDropRootError(
            "PostgreSQL does not run as root and setpriv (util-linux) is not installed: start as an ordinary user"
        )
    if system_user is None and _user_namespaces_work():
        return Unprivileged(OWN_NAMESPACE, 0)
    return _as_user(setpriv, pwd.getpwnam(system_user or _made_system_user()))


def _user_namespaces_work() -> bool:
    if shutil.which("unshare") is None:
        return False
    trial = subprocess.run(  # noqa: S603  a fixed command line
        [*OWN_NAMESPACE, "true"], capture_output=True, check=False
    )
    return trial.returncode == 0


def _made_system_user() -> str:
    """Return the name of the system user, after making it when it is not there."""
    if any(user.pw_name == SYSTEM_USER for user in pwd.getpwall()):
        return SYSTEM_USER
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if useradd is None:
        raise CannotDropRootError(
            "PostgreSQL does not run as root, user namespaces are refused and useradd is missing: start as an ordinary user"
        )
    made = subprocess.run(  # noqa: S603  a fixed command line
        [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise CannotDropRootError(
            f"the system user {SYSTEM_USER} cannot be made: {made.stderr.strip()}"
        )
    return SYSTEM_USER


def _as_user(setpriv: str, user: pwd.struct_passwd) -> Unprivileged:
    """Run as a system user that keeps one capability: to pass closed folders.

    So our folders stay closed to everybody else, and nothing above them (``/root``) is opened.
    """
    launcher = (
        setpriv,
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
        "--",
    )
    return Unprivileged(launcher, user.pw_uid)
