"""ZooScan projects of ZooProcess: the vignettes of each scan in ``Zooscan_scan/_work/SCAN``, with ``SCAN_dat1.pid``.

The whole scans, the background scans, the masks and the copies for learning sets are left out. The ``.pid`` has
sections of ``name= value``, and a table of the objects after ``[Data]``. Its sample, time, depth, volume and size of a
pixel are used. Its position is not used: it is written in degrees and minutes, with a sign that differs from that of
EcoTaxa. The EcoTaxa table of the same folder has the position in degrees. Source: a ``.pid`` and the description of the
folders in github.com/ecotaxa/ZooProcess-lib.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pelagia.sources.image import read_at
from pelagia.sources.instruments.contents import Contents
from pelagia.sources.listing import Listing
from pelagia.tables.values import is_missing

_PID = "_dat1.pid"
_LONGEST = 1 << 20
_RAW, _WORK = "_raw", "_work"
_PROJECT = frozenset({"Zooscan_scan", "Zooscan_back"})
FOLDERS = _PROJECT | {_WORK}
"""Folders that show a project."""
_MASK = re.compile(r"_(msk1|out1|sep|vis1|tot_vis1)\.(gif|tif|jpg|png)$", re.IGNORECASE)
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)(?:-(\d\d)(\d\d))?", re.ASCII)
_RENAMED = {
    ("sample", "sampleid"): "sample",
    ("sample", "stationid"): "station",
    ("sample", "zmin"): "minimumDepthInMeters",
    ("sample", "zmax"): "maximumDepthInMeters",
    ("sample", "vol"): "sampleSizeValue",
    ("fraction", "min"): "acq_min_mesh",
    ("fraction", "max"): "acq_max_mesh",
    ("subsample", "subpart"): "acq_sub_part",
    ("subsample", "submethod"): "acq_sub_method",
    ("particules_process", "pixsize"): "pixel_size_mm",
}
"""Section and name in a ``.pid``, in lower case -> column."""
_NO_DEPTH = "9999"
HINTS = {
    "zooscan_scan": "it has whole scans of a ZooScan: give the folder Zooscan_scan/_work, which has the vignettes, or "
    "an export from EcoTaxa"
}
NO_POSITION = (
    "the vignettes of a ZooScan have no position: ZooProcess writes it in another form into the .pid; export the scans "
    "to EcoTaxa with ZooProcess, and give the folder with the ecotaxa table"
)


def is_sign(name: str) -> bool:
    """Whether a file is the table of a scan."""
    return name.lower().endswith(_PID)


def arrange(contents: Contents, listing: Listing) -> None:
    """Leaves out what is not a vignette, and gives the vignettes the columns of their ``.pid``."""
    if contents.folders >= _PROJECT:
        contents.leave_out_folders(contents.folders - {"Zooscan_scan"}, "zooscan_folder", listing)
    if contents.folders >= {_RAW, _WORK}:
        contents.leave_out_folders([_RAW], "zooscan_folder", listing)
        contents.leave_out(contents.images, "zooscan_scan", listing)
    pids = [name for name in contents.signs if is_sign(name)]
    if not pids:
        return
    contents.leave_out(filter(_MASK.search, contents.images), "zooscan_mask", listing)
    tables = {name[: -len(_PID)].lower(): _columns(contents.folder / name) for name in pids}
    contents.columns = lambda name: tables.get(name.rpartition("_")[0].lower(), {})
    if contents.images:
        listing.warn(NO_POSITION)


def _columns(pid: Path) -> dict[str, str]:
    """What a ``.pid`` says about all its vignettes; empty if it cannot be read."""
    values = _values(pid)
    columns = {new: value for old, new in _RENAMED.items() if _is_known(value := values.get(old, ""))}
    if "sampleSizeValue" in columns:
        columns["sampleSizeUnit"] = "cubic metre"
    if columns:
        columns["instrument"] = "zooscan"
    if found := _DATE.fullmatch(values.get(("sample", "date"), "")):
        year, month, day, hour, minute = found.groups()
        columns["eventDate"] = f"{year}-{month}-{day}" + (f"T{hour}:{minute}" if hour else "")
    return columns


def _is_known(value: str) -> bool:
    return not is_missing(value) and value != _NO_DEPTH


def _values(pid: Path) -> Mapping[tuple[str, str], str]:
    """Values by section and name in lower case, up to the table. The first of two values of the same name counts."""
    values: dict[tuple[str, str], str] = {}
    section = text = ""
    with suppress(OSError):
        text = read_at(pid, 0, _LONGEST).decode("cp1252", "replace")
    for line in text.splitlines():
        if line.startswith("[") and line.rstrip().endswith("]"):
            section = line.strip()[1:-1].lower()
            if section == "data":
                break
        else:
            name, equals, value = line.partition("=")
            if equals:
                values.setdefault((section, name.strip().lower()), value.strip())
    return values
