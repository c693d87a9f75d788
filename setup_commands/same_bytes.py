"""Archives that are the same bytes, whoever builds them, in whatever folder and whenever."""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path

from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.sdist import sdist

from setup_commands.sbom import write_sbom

# The earliest that a zip archive can hold: 1 January 1980, for a build that states no time.
NO_TIME = 315532800


def settle_time() -> None:
    """States a time for the build, where the caller does not: files are given no other."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", str(NO_TIME))


class Sdist(sdist):
    """An sdist of settled order, times, owners and modes; setuptools' keeps those of the folder."""

    def run(self) -> None:
        # setuptools adds the files of an earlier build's list, if they are still there.
        egg_info = self.get_finalized_command("egg_info")
        Path(egg_info.egg_info, "SOURCES.txt").unlink(missing_ok=True)
        super().run()

    def make_archive(
        self,
        base_name: str,
        format: str,
        root_dir: str | os.PathLike[str] | None = None,
        base_dir: str | None = None,
        owner: str | None = None,
        group: str | None = None,
    ) -> str:
        if format != "gztar" or root_dir is not None or base_dir is None:
            return super().make_archive(base_name, format, root_dir, base_dir, owner, group)
        archive = f"{base_name}.tar.gz"
        write_archive(Path(archive), Path(base_dir), int(os.environ["SOURCE_DATE_EPOCH"]))
        return archive


def write_archive(archive: Path, folder: Path, time: int) -> None:
    """Writes a folder to a ``.tar.gz``, below its own name.

    Parameters
    ----------
    archive, folder
        The folder holds files and folders only; of a file's mode only "executable" is kept.
    time
        Of every file, and of the archive, in seconds since 1970.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    with (
        archive.open("wb") as file,
        # The file's name would stand in the header.
        gzip.GzipFile("", "wb", compresslevel=9, fileobj=file, mtime=time) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as members,
    ):
        for path in [folder, *sorted(folder.rglob("*"), key=lambda path: path.as_posix())]:
            member = tarfile.TarInfo(path.relative_to(folder.parent).as_posix())
            member.mtime = time
            member.mode = _mode(path)
            if path.is_dir():
                member.type = tarfile.DIRTYPE
                members.addfile(member)
            else:
                member.size = path.stat().st_size
                with path.open("rb") as content:
                    members.addfile(member, content)


class Wheel(bdist_wheel):
    """A wheel with a list of what is inside (PEP 770), and without the builder's modes.

    setuptools sorts the members, and takes their time from ``SOURCE_DATE_EPOCH``.
    """

    def write_wheelfile(self, wheelfile_base: str, *arguments: str) -> None:
        super().write_wheelfile(wheelfile_base, *arguments)
        information = Path(wheelfile_base)
        write_sbom(information, self.distribution)
        # An editable wheel's information lies in a folder that is not this command's.
        if information.parent == Path(self.bdist_dir):
            for path in information.parent.rglob("*"):
                path.chmod(_mode(path))


def _mode(path: Path) -> int:
    """What the file's mode becomes, whatever the builder's umask was."""
    return 0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644
