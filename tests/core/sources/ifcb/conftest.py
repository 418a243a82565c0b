"""Bins that are written for the tests."""

import pytest

STYLE_D, STYLE_I = "D20220519T124533_IFCB134", "IFCB5_2012_028_081515"


@pytest.fixture
def make_bin(tmp_path):
    """Writes a bin of style I whose rows are (trigger, x, y, width, height[, opened, grabbed]), and its pixels."""

    def make(*rows, name=STYLE_I, pixels=None):
        lines, data = [], bytearray(b"\0")
        for number, (trigger, x, y, width, height, *times) in enumerate(rows, start=1):
            opened, grabbed = times or (0.1 * trigger, 0.1 * trigger + 0.05)
            values = [trigger, 0.3, 0, 0, 0, 0, 0, opened, grabbed, x, y, width, height, len(data), -0.2]
            lines.append(",".join(map(str, values)) + ",")
            data += bytes([40 * number % 256]) * (width * height)
        (tmp_path / f"{name}.adc").write_text("\r\n".join(lines) + "\r\n")
        (tmp_path / f"{name}.roi").write_bytes(bytes(data) if pixels is None else pixels)
        (tmp_path / f"{name}.hdr").write_text('"Imaging FlowCytobot Acquisition Software version 1.0; October 2005"\n')
        return tmp_path / f"{name}.adc"

    return make


@pytest.fixture
def make_style_d(tmp_path):
    """Writes a bin of style D; rows are (width, height, offset) or whole lines."""

    def make(*rows, pixels=bytes(1000), header="", name=STYLE_D):
        lines = []
        for target, row in enumerate(rows, start=1):
            values = [target, target, *[0] * 11, 7, 8, *row, 0, 0, 0, 0, target + 0.02, 0.08 * target]
            lines.append(row if isinstance(row, str) else ",".join(map(str, values)))
        (tmp_path / f"{name}.adc").write_text("\n".join(lines) + "\n")
        (tmp_path / f"{name}.roi").write_bytes(pixels)
        (tmp_path / f"{name}.hdr").write_text(header)
        return tmp_path / f"{name}.roi"

    return make
