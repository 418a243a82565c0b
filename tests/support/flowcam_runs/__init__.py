"""FlowCam runs, written as VisualSpreadsheet writes them: a list, collages, masks, calibration images, a context."""

import numpy as np
from PIL import Image

from pelagia.sources import Listing, list_images

FIELDS = ("id", "collage_file", "image_x", "image_y", "image_w", "image_h")
CONTEXT = """[Software]
SoftwareName=VisualSpreadsheet
SoftwareVersion=3.4.5
SerialNo=101
[General]
LocationLatitude=
LocationLongitude=
RunStartTime=2014-07-20 04:53:25
[Fluid]
FlowCellDepth=300
FluidVolumeImaged_ml=0.0610
CalibrationConstant=0.5547
[CaptureRegion]
AcceptableLeft=0
AcceptableRight=1022
AcceptableTop=0
AcceptableBottom=766
[CaptureStats]
RawImageTotal=473
"""
RUN = "201-045311"


def written(folder, *rows, run=RUN, version="017", fields=FIELDS, context=CONTEXT, end="\n", gray=True, collages=1):
    """Writes a run of two particles a collage, or of ``rows``; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(7)
    for number in range(1, collages + 1):
        shape = (90, 200) if gray else (90, 200, 3)
        Image.fromarray(generator.integers(0, 256, shape, np.uint8)).save(folder / f"{run}_{number:06d}.tif")
        Image.fromarray(np.zeros((90, 200), np.uint8)).save(folder / f"{run}_{number:06d}_bin.tif")
    Image.fromarray(np.full((100, 120), 180, np.uint8)).save(folder / "cal_image_000001.tif")
    if not rows:
        names = [f"{run}_{number:06d}.tif" for number in range(1, collages + 1)]
        places = [(name, x) for name in names for x in (2, 90)]
        rows = [f"{number}|{name}|{x}|5|70|40" for number, (name, x) in enumerate(places, start=1)]
    header = [version, f"num-fields|{len(fields)}", *(f"{name}|int32" for name in fields)]
    (folder / f"{run}.lst").write_text("\n".join([*header, *rows]) + end)
    if context:
        (folder / f"{run}.ctx").write_text(context)
    return folder


def listed(*inputs):
    listing = Listing()
    return list(list_images(inputs, listing)), listing
