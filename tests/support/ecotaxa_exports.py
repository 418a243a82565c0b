"""EcoTaxa exports of one made project in the forms that EcoTaxa and other programs write.

The forms follow ``API_operations/exports/ForProject.py`` of EcoTaxa: column names, the row of types, quoting, the
mark of UTF-8, the places of tables and images. `FORMS` has them by name.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Row = Mapping[str, str]
Write = Callable[[Path, Sequence[Row], Mapping[str, bytes]], Path]

FLOATS = frozenset({"object_lat", "object_lon", "object_depth_min", "object_depth_max", "sample_tot_vol"}) | {
    "process_particle_pixel_size_mm"
}


def object_row(number: int, sample: str = "s1", **changes: str) -> dict[str, str]:
    """One object of a ZooScan project; its image is ``<number>.png``."""
    return {
        "img_file_name": f"{number}.png",
        "img_rank": "0",
        "object_id": f"obj_{number}",
        "object_lat": "43.685",
        "object_lon": "7.315",
        "object_date": "20220718",
        "object_time": "115300",
        "object_depth_min": "10.0",
        "object_depth_max": "75.5",
        "object_annotation_status": "validated",
        "object_annotation_person_name": "Ann",
        "object_annotation_person_email": "ann@example.org",
        "object_annotation_date": "20230102",
        "object_annotation_category": "part<Crustacea" if number % 2 else "Salpida",
        "object_annotation_hierarchy": "living>Arthropoda>Crustacea>part" if number % 2 else "living>Tunicata>Salpida",
        "object_area": "311",
        "sample_id": sample,
        "sample_stationid": "Point B",
        "sample_comment": "filet abîmé",
        "sample_tot_vol": "12.5",
        "acq_id": f"acq_{sample}",
        "acq_instrument": "zooscan",
        "acq_sub_part": "4",
        "process_particle_pixel_size_mm": "0.0106",
        **changes,
    }


def table(rows: Sequence[Row], encoding: str = "utf-8-sig", quoted: bool = True, types: bool = True) -> bytes:
    """A table as EcoTaxa writes it; ``types`` is its second row."""
    quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=quoting)
    writer.writerow(rows[0])
    if types:
        writer.writerow("[f]" if name.strip().lower() in FLOATS else "[t]" for name in rows[0])
    writer.writerows(row.values() for row in rows)
    return file.getvalue().encode(encoding)


def write_files(root: Path, files: Mapping[str, bytes]) -> Path:
    """Writes files, by their path below a folder."""
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of files, by their name in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def flat(rows: Sequence[Row], images: Mapping[str, bytes]) -> dict[str, bytes]:
    """A table and its images in one folder."""
    return {"ecotaxa_export_42_20240101_1200.tsv": table(rows), **images}


def backup(rows: Sequence[Row], images: Mapping[str, bytes]) -> dict[str, bytes]:
    """A folder for each sample, with its table and its images."""
    files = {}
    for sample in sorted({row["sample_id"] for row in rows}):
        of_sample = [row for row in rows if row["sample_id"] == sample]
        files[f"{sample}/ecotaxa_{sample}.tsv"] = table(of_sample)
        files |= {f"{sample}/{row['img_file_name']}": images[row["img_file_name"]] for row in of_sample}
    return files


def general(rows: Sequence[Row], images: Mapping[str, bytes]) -> dict[str, bytes]:
    """Dates with dashes, times with colons, decimal commas, latin-1; images in a folder for each sample."""
    changed, files = [], {}
    for row in rows:
        where = f"{row['sample_id']}/{row['img_file_name']}"
        files[where] = images[row["img_file_name"]]
        new = {name: value.replace(".", ",") if name in FLOATS else value for name, value in row.items()}
        day, time = row["object_date"], row["object_time"]
        new["object_date"] = f"{day[:4]}-{day[4:6]}-{day[6:]}"
        new["object_time"] = f"{time[:2]}:{time[2:4]}:{time[4:]}"
        new["object_annotation_date"] = "2023-01-02"
        changed.append({**new, "img_file_name": where})
    return {"ecotaxa_export_TSV_42_20240101_1200.tsv": table(changed, "latin-1", types=False), **files}


def capitals(rows: Sequence[Row], images: Mapping[str, bytes]) -> dict[str, bytes]:
    """``.txt``, names of columns in capitals and with spaces, statuses in capitals, no quotes and no mark."""
    changed = [
        {f"{name.upper()} ": f" {value.upper()}" if name.endswith("status") else value for name, value in row.items()}
        for row in rows
    ]
    return {"ECOTAXA_EXPORT.TXT": table(changed, "utf-8", quoted=False), **images}


def _as_folder(layout: Callable[..., dict[str, bytes]]) -> Write:
    return lambda root, rows, images: write_files(root / "export", layout(rows, images))


def _as_zip(pack: Callable[[dict[str, bytes]], bytes]) -> Write:
    def write(root: Path, rows: Sequence[Row], images: Mapping[str, bytes]) -> Path:
        (root / "export.zip").write_bytes(pack(flat(rows, images)))
        return root / "export.zip"

    return write


def _collection(method: int) -> Callable[[dict[str, bytes]], bytes]:
    return lambda files: zipped({"srv/temp/export_BAK_42.zip": zipped(files)}, method)


FORMS: dict[str, Write] = {
    "folder": _as_folder(flat),
    "zip": _as_zip(zipped),
    "zip in a zip, stored": _as_zip(_collection(zipfile.ZIP_STORED)),
    "zip in a zip, compressed": _as_zip(_collection(zipfile.ZIP_DEFLATED)),
    "backup": _as_folder(backup),
    "general export": _as_folder(general),
    "txt in capitals": _as_folder(capitals),
}
"""Form of an export -> function (folder to write to, rows, bytes of the images by name) that returns the export."""
