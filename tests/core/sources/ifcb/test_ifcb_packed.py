"""IFCB bins packed with gzip, inside archives, and beside the images that were extracted from them."""

import gzip
import io
import itertools
import pickle
import tarfile
import zipfile

import pytest

from archive_fixtures import PACK
from pelagia.images.preprocess import ImageError
from pelagia.sources import Listing, list_images
from pelagia.sources.archives import bins
from pelagia.sources.archives.names import Names
from pelagia.sources.ifcb import Span

BIN = "D20220519T124533_IFCB134"
OLD = "IFCB5_2012_028_081515"
ENDINGS = ["zip", *(ending[1:] for ending in PACK)]


def style_d(count=5):
    """The three files of a bin of style D: ending -> bytes. The third row has no image."""
    rows, pixels = [], bytearray()
    for target in range(1, count + 1):
        width, height = (0, 0) if target == 3 else (3 + target, 4)
        values = [target, target, *[0] * 11, 7, 8, width, height, len(pixels), 0, 0, 0, 0, target + 0.02, 0.08 * target]
        rows.append(",".join(map(str, values)))
        pixels += bytes((7 * target + at) % 256 for at in range(width * height))
    return {
        ".adc": "\n".join(rows).encode(),
        ".hdr": b"gpsLatitude: 57.1\ngpsLongitude: 11.2\n",
        ".roi": bytes(pixels),
    }


def style_i():
    """A bin of style I, whose first two images overlap."""
    rows, pixels = [], bytearray(b"\0")
    for number, (trigger, x) in enumerate([(1, 0), (1, 4), (2, 0)], start=1):
        values = [trigger, 0.3, 0, 0, 0, 0, 0, 0.1 * trigger, 0.1 * trigger + 0.05, x, 0, 10, 10, len(pixels), -0.2]
        rows.append(",".join(map(str, values)) + ",")
        pixels += bytes([40 * number]) * 100
    return {".adc": "\r\n".join(rows).encode(), ".hdr": b"x", ".roi": bytes(pixels)}


def on_disk(folder, files, name=BIN):
    folder.mkdir(parents=True, exist_ok=True)
    for ending, data in files.items():
        (folder / f"{name}{ending}").write_bytes(data)
    return folder


def pack(path, members):
    """Writes (name, bytes) as a zip or a tar, whichever its ending says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members:
                archive.writestr(name, data)
        return path
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    path.write_bytes(PACK["." + path.name.partition(".")[2]](buffer.getvalue()))
    return path


def contents(path, listing=None):
    """(name, columns, bytes or reason) of each image."""
    found = []
    for image in list_images([path], listing):
        reader = image.reader if image.reader is None else pickle.loads(pickle.dumps(image.reader))
        try:
            found.append((image.path, dict(image.columns), image.read() if reader is None else reader()))
        except ImageError as error:
            found.append((image.path, dict(image.columns), error.reason))
    return found


@pytest.fixture(params=[(BIN, style_d()), (OLD, style_i())], ids=["D", "I"])
def made(request):
    return request.param


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_bin_in_an_archive_gives_what_it_gives_in_a_folder(tmp_path, made, ending):
    name, files = made
    before, after = Listing(), Listing()
    expected = contents(on_disk(tmp_path / "in", files, name), before)
    assert len(expected) == {BIN: 4, OLD: 2}[name]
    archive = pack(tmp_path / f"bins.{ending}", [(f"{name}{part}", data) for part, data in files.items()])
    assert contents(archive, after) == expected
    assert before.left_out == after.left_out


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("order", list(itertools.permutations([".adc", ".hdr", ".roi"])), ids="".join)
def test_the_files_of_a_bin_may_come_in_any_order(tmp_path, order, ending):
    files = style_d()
    expected = contents(on_disk(tmp_path / "in", files))
    archive = pack(tmp_path / f"bins.{ending}", [(f"{BIN}{part}", files[part]) for part in order])
    assert contents(archive) == expected


@pytest.mark.parametrize("ending", ENDINGS)
def test_several_bins_and_images_in_folders_of_an_archive(tmp_path, encode, ending):
    other = BIN.replace("124533", "130000")
    members = [(f"a/{BIN}{part}", data) for part, data in style_d().items()]
    members.insert(1, ("a/x.png", encode()))
    members += [(f"b\\{other}{part}", data) for part, data in style_d(2).items()]
    found = [name for name, _, data in contents(pack(tmp_path / f"bins.{ending}", members)) if isinstance(data, bytes)]
    targets = [f"a/{BIN}_{number:05}" for number in (1, 2, 4, 5)]
    assert found == ["a/x.png", *targets, f"b/{other}_00001", f"b/{other}_00002"]


@pytest.mark.parametrize("first", [[".adc"], [".adc", ".roi"]], ids="".join)
def test_a_bin_that_lacks_a_file_does_not_cost_another_bin_its_images(tmp_path, monkeypatch, first):
    files = style_d()
    monkeypatch.setattr(bins, "_MOST_BYTES", 3 * sum(map(len, files.values())))
    others = [BIN.replace("124533", f"1300{number:02}") for number in range(9)]
    members = [(f"{BIN}{part}", files[part]) for part in first]
    members += [(f"{other}{part}", data) for other in others for part, data in files.items()]
    found = contents(pack(tmp_path / "bins.tar.gz", members))
    read = {name.rpartition("_")[0] for name, _, data in found if isinstance(data, bytes)}
    assert read.issuperset(others)
    assert len(found) == 4 * 10


@pytest.mark.parametrize("most", ["_MOST_WAITING", "_MOST_BYTES"])
def test_of_many_bins_that_lack_a_file_the_first_is_listed_early(tmp_path, monkeypatch, most):
    monkeypatch.setattr(bins, most, 2)
    names = [BIN.replace("124533", f"1300{number:02}") for number in range(5)]
    waiting = bins.Bins(tmp_path / "x.tar", Names(Listing()), Listing())
    found = [[image.path for image in waiting.add(f"{name}.roi", Span(tmp_path / "x.tar"), held=1)] for name in names]
    assert found == [[], [], names[:1], names[1:2], names[2:3]]


@pytest.mark.parametrize("packed", [(".adc",), (".roi",), (".hdr",), (".adc", ".hdr", ".roi")], ids="".join)
@pytest.mark.parametrize("ending", [None, "zip", "tar", "tar.gz"])
def test_files_packed_with_gzip_are_read(tmp_path, made, packed, ending):
    name, files = made
    expected = contents(on_disk(tmp_path / "in", files, name))
    gz = {f"{part}.gz" if part in packed else part: gzip.compress(data) if part in packed else data
          for part, data in files.items()}  # fmt: skip
    path = on_disk(tmp_path / "gz", gz, name)
    if ending:
        path = pack(tmp_path / f"gz.{ending}", [(f"{name}{part}", data) for part, data in gz.items()])
    assert [(path, columns, data) for path, columns, data in contents(path)] == expected
    if not ending and ".adc" in packed:
        assert contents(path / f"{name}.adc.gz") == expected
        assert contents(path / name) == expected


def test_a_packed_table_that_is_damaged_is_a_failed_row(tmp_path):
    files = style_d()
    data = gzip.compress(files.pop(".adc"))
    on_disk(tmp_path / "in", {**files, ".adc.gz": data[:-12]})
    assert [(name, reason) for name, _, reason in contents(tmp_path / "in")] == [(BIN, "damaged")]


def test_packed_pixels_that_are_damaged_are_failed_rows(tmp_path):
    files = style_d()
    data = gzip.compress(files.pop(".roi"))
    on_disk(tmp_path / "in", {**files, ".roi.gz": data[:20]})
    assert {reason for _, _, reason in contents(tmp_path / "in")} == {"damaged"}


@pytest.mark.parametrize("part", [".adc", ".roi"])
def test_a_changed_byte_in_a_zip_is_no_picture(tmp_path, part):
    files = style_d()
    path = tmp_path / "bins.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(f"{BIN}{name}", data)
    data = bytearray(path.read_bytes())
    data[data.index(files[part]) + len(files[part]) - 3] ^= 1
    path.write_bytes(data)
    assert {reason for _, _, reason in contents(path)} == {"damaged"}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("missing", [".adc", ".roi", ".hdr"])
def test_a_bin_without_one_of_its_files(tmp_path, missing, ending):
    files = style_d()
    del files[missing]
    found = contents(pack(tmp_path / f"bins.{ending}", [(f"{BIN}{part}", data) for part, data in files.items()]))
    if missing == ".adc":
        assert [(name, reason) for name, _, reason in found] == [(BIN, "missing")]
    elif missing == ".roi":
        assert {reason for _, _, reason in found} == {"missing"}
        assert len(found) == 4
    else:
        assert len([data for _, _, data in found if isinstance(data, bytes)]) == 4


@pytest.mark.parametrize("ending", [None, *ENDINGS])
@pytest.mark.parametrize("first", [True, False])
def test_an_image_that_was_extracted_from_a_bin_is_listed_once(tmp_path, encode, ending, first):
    files = [(f"{BIN}{part}", data) for part, data in style_d().items()]
    extracted = [(f"{BIN}_{number:05}.png", encode(seed=number)) for number in (1, 2)]
    others = [("D20990101T000000_IFCB134_00001.png", encode()), (f"{BIN}_note.png", encode())]
    members = [*extracted, *files, *others] if first else [*others, *files, *extracted]
    path = pack(tmp_path / f"bins.{ending}", members) if ending else on_disk(tmp_path / "in", dict(members), "")
    listing = Listing()
    names = [name.removesuffix(".png") for name, _, _ in contents(path, listing)]
    expected = [f"{BIN}_{number:05}" for number in (1, 2, 4, 5)] + [name.removesuffix(".png") for name, _ in others]
    assert sorted(names) == sorted(expected)
    assert listing.left_out["extracted"] == 2


def test_a_pattern_lists_an_extracted_image_once(tmp_path, encode):
    on_disk(tmp_path / "in" / "a", style_d())
    (tmp_path / "in" / "a" / f"{BIN}_00001.png").write_bytes(encode())
    listing = Listing()
    assert len(list(list_images([tmp_path / "in" / "*" / "*"], listing))) == 4
    assert listing.left_out["extracted"] == 1
    assert [image.path for image in list_images([tmp_path / "in" / "*" / "*.png"])] == [f"a/{BIN}_00001.png"]


def test_rows_in_another_order_than_the_pixels_are_read_from_a_zip(tmp_path):
    files = style_d(4)
    rows = files[".adc"].split(b"\n")
    files[".adc"] = b"\n".join([rows[3], rows[0], rows[1], rows[2]])
    expected = contents(on_disk(tmp_path / "in", files))
    assert contents(pack(tmp_path / "bins.zip", [(f"{BIN}{part}", data) for part, data in files.items()])) == expected


def test_pixels_in_no_order_do_not_cost_a_pass_each(tmp_path):
    files = style_d(40)
    files[".adc"] = b"\n".join(files[".adc"].split(b"\n")[::-1])
    found = contents(pack(tmp_path / "bins.zip", [(f"{BIN}{part}", data) for part, data in files.items()]))
    assert {data for _, _, data in found if not isinstance(data, bytes)} == {"unsupported"}
    assert len([data for _, _, data in found if isinstance(data, bytes)]) == 8


def test_files_of_bins_without_the_name_of_a_bin_are_counted(tmp_path, encode):
    listing = Listing()
    path = pack(tmp_path / "a.zip", [("x.adc", b"1"), ("x.roi", b"2"), ("a.png", encode())])
    assert [name for name, _, _ in contents(path, listing)] == ["a.png"]
    assert listing.left_out["bin_without_name"] == 2
