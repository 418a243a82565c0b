"""How sharp an object is: 1 divided by the width of its edges.

Source: Zhuo and Sim (2011), Defocus map estimation from a single image, Pattern Recognition 44, 1852-1858, doi
10.1016/j.patcog.2011.03.009. The image is blurred again by a Gaussian of one pixel. At an edge that is blurred by a
Gaussian of s pixels, the gradient becomes smaller by the factor R = sqrt(1 + 1 / s^2). So s follows from R alone:
neither the contrast of the edge nor the size of the object matters. The sharpness of an object is 1 / s, where R is the
median of its steepest tenth of pixels.

A sharpness of 0.5 means edges that are as wide as a Gaussian of two pixels. Below 1.5 pixels the pixels themselves
widen the edges: a Gaussian of 0.8 pixels gives 0.9, not 1.25. Real objects have soft
edges too, so it is compared with that of similar images of the survey.
"""

from __future__ import annotations

import cv2
import numpy as np

from pelagia_inference.checks.outline import Gray, Outline

_STEEPEST = 0.9
_AROUND = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))


def sharpness_of(gray: Gray, outline: Outline | None) -> float | None:
    """The sharpness of an object; None if the image has no gradient.

    Args:
        gray: float32, H x W, 0..255.
        outline: the object, which is taken with three pixels around it; None: the whole image.
    """
    gradient = _gradient(gray)
    again = _gradient(np.asarray(cv2.GaussianBlur(gray, (0, 0), 1.0), np.float32))
    if outline is not None:
        inside = cv2.dilate(outline.mask, _AROUND) > 0
        gradient, again = gradient[inside], again[inside]
    steep = gradient >= np.quantile(gradient, _STEEPEST)
    ratios = gradient[steep] / np.maximum(again[steep], 1e-6)
    if not gradient.max() > 0:
        return None
    return float(np.sqrt(max(float(np.median(ratios)) ** 2 - 1, 0.0)))


def _gradient(gray: Gray) -> Gray:
    """The steepness of each pixel, float32, H x W (Sobel)."""
    return np.asarray(cv2.magnitude(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)), np.float32)
