"""Who the servers run as. PostgreSQL refuses to run as root, so root hands it to an account without rights."""

import ctypes
import os
import pwd
import stat
import sys
from pathlib import Path

import msgspec

from milpa.errors import UsageError

_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CAPABILITY_VERSION_3 = 0x20080522


class Account(msgspec.Struct, frozen=True):
    """An unprivileged account. capability: the one it keeps to pass folders that only root may enter, or None."""

    uid: int
    gid: int
    capability: int | None = None


def server_account(data: Path, *needed: Path) -> Account | None:
    """Return whom PostgreSQL must run as so that it owns `data` and reaches every path in `needed`.

    None: as ourselves, for we are not root. The owner of an existing `data` goes on owning it; a new one belongs to
    `nobody`. Where root's own folders are in the way (a clone below /root), the account keeps the capability to read
    and search past them instead of us changing the permissions of folders that aren't ours.
    UsageError: `data` belongs to someone else, or root has no such capability to give.
    """
    found = data.stat() if data.exists() else None
    if os.geteuid() != 0:
        if found is not None and found.st_uid != os.geteuid():
            owner = _name(found.st_uid)
            raise UsageError("foreign_data_dir", f"{data} belongs to {owner}: run as that user, or as root.")
        return None
    if found is not None and found.st_uid != 0:
        uid, gid = found.st_uid, found.st_gid
    else:
        _, _, uid, gid, *_ = pwd.getpwnam("nobody")
    if all(_open_to_all(path) for path in (data.parent, *needed)):
        return Account(uid, gid)
    return Account(uid, gid, _searching_capability())


def give(path: Path, account: Account | None) -> None:
    """Make `path` the account's own; nothing to do when it is ours anyway."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def become(account: Account) -> None:
    """Turn this process into the account, for good. Runs between fork and exec."""
    os.setgroups([])
    if account.capability is not None:
        _prctl(_PR_SET_KEEPCAPS, 1)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    if account.capability is not None:
        _keep_only(account.capability)


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel to signal this process when its parent dies. Runs between fork and exec; Linux only."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal_number)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _open_to_all(path: Path) -> bool:
    path = path.resolve()
    folders = [path, *path.parents] if path.is_dir() else [*path.parents]
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in folders) and bool(path.stat().st_mode & stat.S_IXOTH)


def _searching_capability() -> int:
    status = Path("/proc/self/status").read_text() if sys.platform == "linux" else "CapPrm: 0"
    permitted = int(status.split("CapPrm:")[1].split()[0], 16)
    for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE):
        if permitted >> capability & 1:
            return capability
    raise UsageError(
        "unreachable_data_dir",
        "PostgreSQL can't run as root, and other users can't enter this folder: move the clone, its .venv and the "
        "data directory out of root's home, or run as an ordinary user.",
    )


def _keep_only(capability: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low = 1 << capability
    sets = (ctypes.c_uint32 * 6)(low, low, low, 0, 0, 0)  # effective, permitted, inheritable; low and high words
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_ulong(word) for word in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(ctypes.c_int(option), *words) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")
