"""Draws ten kinds of particle as optical density, in any pose.

Invariant: a drawing depends only on the random generator, and it is density, not color: `pelagia.synthetic.image`, the
only caller, decides how an instrument shows it (dark on light, light on dark, gray, tinted, blurred). Shapes are in
body units.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pelagia.synthetic.pen import (
    Floats,
    Pen,
    Rng,
    blob,
    crossbars,
    curl,
    normals,
    oval,
    point,
    ribbon,
    spine,
)


def copepod(pen: Pen, rng: Rng) -> None:
    """Egg-shaped prosome, narrow segmented tail with a forked end, long antennules; from above or from the side."""
    dense, width, lateral = rng.uniform(0.5, 1.3), rng.uniform(0.22, 0.34), rng.random() < 0.45
    path = curl((-0.85, 0), 0.0, rng.uniform(1.05, 1.25), rng.uniform(-0.25, 0.25), 32)
    t = np.linspace(0, 1, 32)
    half = width * np.sin(np.pi * t**0.72) ** 0.62 * (1 - 0.1 * t) + 0.05 * t
    tail = curl(path[-1], rng.uniform(-0.25, 0.25), rng.uniform(0.45, 0.65), rng.uniform(-0.5, 0.5), 16)
    reach, sweep = rng.uniform(0.7, 1.35), rng.uniform(0.2, 1.5)
    sides = (-1, -1) if lateral else (-1, 1)
    roots = [path[2] + (0.03 * i, side * half[3] * 0.8) for i, side in enumerate(sides)]
    antennae = [
        curl(root, side * (np.pi / 2 + rng.uniform(-0.1, 0.5)), reach * rng.uniform(0.7, 1), -side * sweep)
        for root, side in zip(roots, sides, strict=True)
    ]
    for antenna in antennae:
        pen.fill(ribbon(antenna, np.linspace(0.032, 0.012, len(antenna))), 0.8 * dense)
    feet = [-1] if lateral else [-1, 1]
    legs = [
        curl(
            path[k] + (0, s * half[k] * 0.9),
            s * rng.uniform(0.9, 1.8),
            rng.uniform(0.18, 0.4),
            -s * rng.uniform(0, 1.3),
        )
        for s in feet
        for k in range(6, 26, 4 if lateral else 9)
    ]
    pen.line(legs, 0.035, 0.7 * dense)
    pen.body(ribbon(tail, np.linspace(0.075, 0.045, 16)), 0.8 * dense, 0.4)
    pen.line(crossbars(tail, 0.07, range(2, 15, 4)), 0.02, 0.4)
    forks = [curl(tail[-1], s * rng.uniform(0.15, 0.5), rng.uniform(0.2, 0.42), s * 0.2) for s in (-1, -0.4, 0.4, 1)]
    pen.line(forks, 0.025, 0.6 * dense)
    pen.body(ribbon(path, half), dense, 0.55, grain=0.5)
    pen.line(crossbars(path, half, rng.choice((13, 14, 15)) + np.arange(0, 17, 4), lean=1), 0.022, 0.45)
    pen.fill(ribbon(path[5:24], half[5:24] * rng.uniform(0.25, 0.5)), rng.uniform(0.3, 1.2), grain=0.6, pigment=True)
    if rng.random() < 0.5:
        pen.fill(oval(path[18, 0], path[18, 1], rng.uniform(0.15, 0.3), 0.4 * width), -0.6 * dense)
    pen.dots(path[1:2] + point((0.04, 0)), 0.04, 1.5, pigment=True)
    if rng.random() < 0.15:
        pen.body(oval(tail[4, 0] + 0.15, tail[4, 1] + 0.17, 0.24, 0.11, 0.3), 0.9 * dense, 0.3, grain=0.8)


def chain_diatom(pen: Pen, rng: Rng) -> None:
    """A chain of box-shaped cells in a row: glassy walls, brown chloroplasts; with long setae or bare threads."""
    cells, setae = int(rng.integers(4, 11)), rng.random() < 0.55
    path = spine(2.0, rng.uniform(-1.3, 1.3), 12 * cells)
    normal = normals(path)
    long = rng.uniform(0.30, 0.46) * 2.0 / cells
    tall = float(np.clip(long * rng.uniform(0.8, 2.2), 0.11, 0.26))
    wall, glass = rng.uniform(0.5, 1.1), rng.uniform(0.08, 0.35)
    pen.line(path[6:-6], 0.02, 0.35)
    corner = rng.uniform(0.5, 0.95)
    box = np.array(
        ((-1, -corner), (-corner, -1), (corner, -1), (1, -corner), (1, corner), (corner, 1), (-corner, 1), (-1, corner))
    )
    hairs: list[Floats] = []
    for k in range(6, 12 * cells, 12):
        along = np.array((normal[k, 1], -normal[k, 0]))
        size = rng.uniform(0.92, 1.05)
        outline = path[k] + size * (box[:, :1] * long * along + box[:, 1:] * tall * normal[k])
        pen.body(outline.astype(np.float32), glass, wall, grain=0.3, width=0.028)
        spots = rng.uniform(-0.65, 0.65, (int(rng.integers(2, 5)), 2))
        centers = path[k] + spots[:, :1] * long * along + spots[:, 1:] * tall * normal[k]
        pen.dots(
            centers.astype(np.float32), rng.uniform(0.3, 0.55) * min(long, tall), rng.uniform(0.4, 1.0), pigment=True
        )
        heading = float(np.arctan2(along[1], along[0]))
        for end, side in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            lean = side * rng.uniform(1.1, 1.6) if end > 0 else side * rng.uniform(1.5, 2.1)
            root = path[k] + end * long * along + side * tall * normal[k]
            hairs.append(curl(root, heading + lean, rng.uniform(0.25, 0.75), side * end * rng.uniform(-0.7, 0.2), 10))
    if setae:
        pen.line(hairs, 0.016, rng.uniform(0.5, 0.9))


def dinoflagellate(pen: Pen, rng: Rng) -> None:
    """An armored cell with a girdle, one apical horn and two hind horns, straight or swept forward like an anchor."""
    dense, wide, anchor = rng.uniform(0.9, 1.9), rng.uniform(0.24, 0.36), rng.random() < 0.5
    apical = curl((-0.12, 0), np.pi, rng.uniform(0.65, 1.15), rng.uniform(-0.3, 0.3))
    pen.fill(ribbon(apical, np.linspace(0.4 * wide, 0.025, 24) ** 1.15), dense, grain=0.2)
    for side in (-1, 1):
        root = (0.14, side * wide * 0.6)
        if anchor:
            horn = curl(root, side * rng.uniform(0.5, 1.1), rng.uniform(0.8, 1.2), side * rng.uniform(1.4, 2.3))
        else:
            horn = curl(root, side * rng.uniform(-0.1, 0.35), rng.uniform(0.35, 0.75), side * rng.uniform(-0.4, 0.2))
        pen.fill(ribbon(horn, np.linspace(0.35 * wide, 0.022, 24)), 0.9 * dense, grain=0.2)
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    bulge = 1 + 0.12 * np.cos(4 * t) + rng.normal(0, 0.02, 40)
    shell = np.stack((0.3 * np.cos(t) * bulge, wide * np.sin(t) * bulge), axis=1).astype(np.float32)
    pen.body(shell, dense, 0.5, grain=0.35)
    pen.fill(shell * np.float32(0.8), rng.uniform(0.3, 0.9), grain=0.9, pigment=True)
    girdle = np.array(((0, -1.05 * wide), (0.03, 0), (0, 1.05 * wide)), np.float32)
    pen.line(girdle, 0.07, -0.55 * dense)
    pen.line([girdle - point((0.05, 0)), girdle + point((0.05, 0))], 0.025, 0.5)


def medusa(pen: Pen, rng: Rng) -> None:
    """A clear bell with canals, a mouth-stalk and tentacles; seen from the side or from above."""
    dense, rim = rng.uniform(0.12, 0.4), rng.uniform(0.3, 0.7)
    if rng.random() < 0.4:
        _medusa_from_above(pen, rng, dense, rim)
    else:
        _medusa_from_the_side(pen, rng, dense, rim)


def _medusa_from_above(pen: Pen, rng: Rng, dense: float, rim: float) -> None:
    radius, arms, phase = rng.uniform(0.6, 0.8), int(rng.choice((4, 4, 8))), rng.uniform(0, np.pi)
    pen.body(oval(0, 0, radius, radius * rng.uniform(0.85, 1)), dense, rim, width=0.05)
    pen.line(oval(0, 0, 0.86 * radius, 0.84 * radius), 0.03, 0.5 * rim, closed=True)
    canals = phase + np.arange(arms) * 2 * np.pi / arms
    pen.line([curl((0, 0), a, 0.85 * radius, rng.normal(0, 0.15), 8) for a in canals], 0.045, 0.8 * rim)
    for a in canals:
        x, y = np.cos(a) * radius * 0.48, np.sin(a) * radius * 0.48
        pen.fill(oval(x, y, 0.16 * radius, 0.07 * radius, a), rng.uniform(0.4, 0.9), pigment=True)
    pen.fill(blob(rng, 0.17 * radius, 0.3), 0.6, pigment=True)
    around = rng.uniform(0, 2 * np.pi, int(rng.integers(14, 30)))
    roots = np.stack((np.cos(around), np.sin(around)), axis=1) * radius * 0.97
    lengths = rng.uniform(0.12, 0.5, len(around))
    tentacles = [curl(p, a, n, rng.normal(0, 1.2), 12) for p, a, n in zip(roots, around, lengths, strict=True)]
    pen.line(tentacles, 0.026, rim)


def _medusa_from_the_side(pen: Pen, rng: Rng, dense: float, rim: float) -> None:
    tall, wide, closed = rng.uniform(0.55, 0.95), rng.uniform(0.5, 0.68), rng.uniform(0.75, 1.0)
    t = np.linspace(-np.pi / 2, np.pi / 2, 30)
    narrowing = 1 - (1 - closed) * (1 - np.cos(t))
    dome = np.stack((0.1 - tall * np.maximum(np.cos(t), 0) ** 0.8, wide * np.sin(t) * narrowing), axis=1)
    lip = curl(dome[-1], -np.pi / 2 - 0.25, 2 * wide * closed, 0.5, 12)
    pen.body(np.concatenate((dome.astype(np.float32), lip)), dense, rim, width=0.05)
    inner = dome.astype(np.float32) * point((0.78, 0.84)) + point((0.03, 0))
    pen.line(inner, 0.03, 0.6 * rim)
    pen.line([inner * point((1, k)) for k in (-0.5, 0.05, 0.55)], 0.03, 0.5 * rim)
    stalk = curl((0.05 - 0.72 * tall, 0), 0, rng.uniform(0.4, 0.8), rng.normal(0, 0.3))
    pen.fill(ribbon(stalk, np.linspace(0.13, 0.05, 24)), 0.7, grain=0.5, pigment=True)
    for y in (-0.35, 0.35):
        pen.fill(oval(-0.45 * tall, y * wide, 0.13, 0.07), rng.uniform(0.3, 0.8), pigment=True)
    roots = np.stack((np.full(12, 0.1), np.linspace(-0.95, 0.95, 12) * wide * closed), axis=1).astype(np.float32)
    roots = roots[rng.permutation(12)[: rng.integers(5, 12)]]
    drift = rng.normal(0, 0.5)
    tentacles = [
        curl(p, 0.5 * p[1] + rng.normal(0, 0.15), rng.uniform(0.4, 1.25), drift + rng.normal(0, 0.7)) for p in roots
    ]
    pen.line(tentacles, 0.03, rim)
    pen.dots(roots, 0.04, 0.8, pigment=True)


def arrow_worm(pen: Pen, rng: Rng) -> None:
    """A clear slender body, two pairs of side fins, a fan tail, a head with hooks, a thin gut."""
    dense, thick = rng.uniform(0.18, 0.5), rng.uniform(0.05, 0.08)
    path = spine(2.0, rng.choice((0.4, 1.0, 2.0)) * rng.normal(0, 0.6), 60)
    t = np.linspace(0, 1, 60)
    half = thick * np.interp(
        t, (0, 0.03, 0.07, 0.1, 0.13, 0.4, 0.7, 0.9, 1), (0.3, 0.95, 1.1, 0.8, 0.75, 1.0, 0.9, 0.5, 0.3)
    )
    fins = thick * (np.interp(t, (0.42, 0.54, 0.62), (0, 1.0, 0)) + np.interp(t, (0.64, 0.78, 0.88), (0, 1.5, 0)))
    for low, high in ((26, 37), (38, 53)):
        band = slice(low, high)
        pen.body(ribbon(path[band], half[band] + fins[band]), 0.4 * dense, 0.3, width=0.012)
    fan = ribbon(path[53:], np.linspace(0.3, 2.6, 7) * thick)
    pen.body(fan, 0.6 * dense, 0.35, width=0.015)
    rays = [np.stack((path[53], path[-1] + normals(path)[-1] * k * thick)) for k in np.linspace(-2.3, 2.3, 7)]
    pen.line(rays, 0.012, 0.25)
    pen.body(ribbon(path, half), dense, rng.uniform(0.35, 0.8), grain=0.3, width=0.02)
    pen.line(path[6:46], 0.3 * thick, rng.uniform(0.3, 0.8), pigment=bool(rng.random() < 0.5))
    pen.line(crossbars(path, half, [44]), 0.02, 0.6)
    if rng.random() < 0.5:
        for side in (-0.5, 0.5):
            pen.fill(ribbon(path[30:44] + normals(path)[30:44] * side * thick, 0.3 * thick), 0.5, grain=0.8)
    head = float(np.arctan2(*(path[0] - path[4])[::-1]))
    pen.fill(ribbon(path[:6], half[:6] * 0.9), rng.uniform(0.3, 0.8), grain=0.4)
    hooks = [
        curl(path[1] + normals(path)[1] * s * thick * 0.8, head + s * -k, 1.5 * thick, s * 1.7, 8)
        for s in (-1, 1)
        for k in (0.3, 0.7, 1.1)
    ]
    pen.line(hooks, 0.016, 0.7)
    pen.dots(np.stack([path[4] + normals(path)[4] * s * thick * 0.45 for s in (-1, 1)]), 0.018, 1.4, pigment=True)


def fish_larva(pen: Pen, rng: Rng) -> None:
    """A large head with a big black eye, a tapering body with muscle chevrons, a clear fin-fold, a gut or yolk sac."""
    dense, deep = rng.uniform(0.3, 0.8), rng.uniform(0.12, 0.17)
    path = spine(2.0, rng.normal(0, 0.55), 60)
    t, normal = np.linspace(0, 1, 60), normals(path)
    half = deep * np.interp(t, (0, 0.03, 0.1, 0.18, 0.3, 0.6, 0.92, 1), (0.25, 0.65, 1.0, 0.95, 0.7, 0.5, 0.22, 0.15))
    fold = np.interp(t, (0.25, 0.5, 0.85, 0.93, 0.97, 1), (0, 0.6, 0.55, 0.9, 0.8, 0.3)) * deep
    pen.body(ribbon(path[16:], half[16:] + fold[16:]), rng.uniform(0.06, 0.16), 0.25, grain=0.2, width=0.014)
    rays = [np.stack((path[-5], path[-1] + normal[-1] * k * deep)) for k in np.linspace(-0.8, 0.8, 7)]
    pen.line(rays, 0.014, 0.3)
    belly = path[14] - normal[14] * deep * 0.75
    if rng.random() < 0.4:
        size = rng.uniform(0.13, 0.24)
        pen.body(oval(belly[0], belly[1], 1.4 * size, 0.8 * size), 0.3, 0.4, grain=0.3)
    else:
        gut = ribbon(path[10:34] - normal[10:34] * half[10:34, None] * 0.8, np.linspace(0.07, 0.025, 24))
        pen.fill(gut, rng.uniform(0.4, 1.0), grain=0.6, pigment=True)
    pen.body(ribbon(path, half), dense, 0.5, grain=0.3, width=0.025)
    pen.line(crossbars(path, half * 0.9, np.arange(17, 57, 2), lean=1), 0.014, 0.4)
    pen.line(path[12:58], 0.03, 0.3)
    jaw = curl(path[0] - normal[0] * 0.02, float(np.arctan2(*(path[6] - path[0])[::-1])) - 0.35, 0.16, 0.3, 8)
    pen.line(jaw, 0.025, 0.6)
    eyes = (0.3,) if rng.random() < 0.75 else (-0.75, 0.75)
    for side in eyes:
        x, y = path[5] + normal[5] * deep * side
        radius = deep * rng.uniform(0.42, 0.56)
        pen.fill(oval(x, y, radius, radius * 0.92), 2.2, pigment=True)
        pen.fill(oval(x, y, 0.35 * radius, 0.35 * radius), 1.0, pigment=True)
    where = rng.integers(18, 56, int(rng.integers(0, 14)))
    spots = path[where] - normal[where] * (half[where] * rng.choice((-0.8, 0.8), len(where)))[:, None]
    pen.dots(spots, 0.018, 1.3, pigment=True)


def detritus(pen: Pen, rng: Rng) -> None:
    """Particles of organic remains: marine snow, opaque chunks, tangled fibers, creased flakes, fecal pellets."""
    kinds = (_snow, _chunk, _fiber, _flake, _pellet)
    kinds[int(rng.choice(5, p=(0.36, 0.24, 0.16, 0.14, 0.10)))](pen, rng)


def _snow(pen: Pen, rng: Rng) -> None:
    count, spread = int(rng.integers(18, 46)), rng.uniform(0.13, 0.22)
    at = np.cumsum(rng.normal(0, spread, (count, 2)) * (1, rng.uniform(0.5, 1)), axis=0)
    at -= at.mean(axis=0)
    at *= min(1.0, 0.8 / np.abs(at).max())
    for x, y in at:
        piece = blob(rng, rng.uniform(0.05, 0.2), 0.8, points=20) + point((x, y))
        pen.fill(piece, rng.uniform(0.12, 0.5), grain=0.9, pigment=bool(rng.random() < 0.25))
    pen.line([curl(at[k], rng.uniform(0, 6.3), rng.uniform(0.2, 0.6), rng.normal(0, 2)) for k in range(4)], 0.02, 0.4)


def _chunk(pen: Pen, rng: Rng) -> None:
    shape = blob(rng, 0.62, rng.uniform(0.35, 0.75), rng.uniform(1.0, 1.5))
    pen.body(shape, rng.uniform(0.8, 2.0), 0.3, grain=0.8)
    pen.fill(shape * np.float32(0.6), rng.uniform(0, 1), grain=1.0, pigment=True)
    for _ in range(int(rng.integers(1, 5))):
        lump = blob(rng, rng.uniform(0.1, 0.25), 0.8) + rng.normal(0, 0.45, 2).astype(np.float32)
        pen.fill(lump, 0.6, grain=0.9)


def _fiber(pen: Pen, rng: Rng) -> None:
    strands = []
    for _ in range(int(rng.integers(1, 4))):
        first = curl((-0.9, rng.normal(0, 0.1)), rng.normal(0, 0.5), rng.uniform(0.7, 1.3), rng.normal(0, 1.6))
        strands += [first, curl(first[-1], rng.normal(0, 0.6), rng.uniform(0.3, 0.9), rng.normal(0, 2.4))]
    for strand in strands:
        half = rng.uniform(0.015, 0.06) * rng.uniform(0.5, 1.3, len(strand))
        pen.fill(ribbon(strand, half), rng.uniform(0.5, 1.4), grain=0.8)
    for strand in strands[: rng.integers(1, 4)]:
        pen.fill(blob(rng, rng.uniform(0.06, 0.2), 0.9) + strand[rng.integers(len(strand))], 0.7, grain=1.0)


def _flake(pen: Pen, rng: Rng) -> None:
    shape = blob(rng, 0.68, rng.uniform(0.5, 0.8), rng.uniform(0.9, 1.4), points=14)
    pen.body(shape, rng.uniform(0.2, 0.5), 0.6, grain=0.6)
    corners = rng.integers(0, 14, (5, 3))
    pen.line([np.stack((shape[a], shape[b] * np.float32(0.4), shape[c])) for a, b, c in corners], 0.025, 0.5)


def _pellet(pen: Pen, rng: Rng) -> None:
    path = spine(rng.uniform(1.3, 1.9), rng.normal(0, 0.5))
    half = rng.uniform(0.16, 0.3) * np.sin(np.pi * np.linspace(0.03, 0.97, 40)) ** 0.35 * rng.normal(1, 0.05, 40)
    pen.body(ribbon(path, half), rng.uniform(0.9, 1.8), 0.3, grain=0.9)
    pen.fill(ribbon(path[4:-4], half[4:-4] * 0.6), 0.5, grain=1.0, pigment=True)


def bubble(pen: Pen, rng: Rng) -> None:
    """A gas bubble or a droplet: a perfect circle, a dark rim that fades inwards, a bright middle; at times two."""
    thick, dark = rng.uniform(0.08, 0.5), rng.uniform(0.5, 1.7)
    circles = [(0.0, 0.0, rng.uniform(0.75, 0.95))]
    if rng.random() < 0.22:
        heading, small = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.55)
        away = circles[0][2] + small * rng.uniform(0.6, 1.05)
        circles.append((away * np.cos(heading), away * np.sin(heading), small))
    for x, y, radius in circles:
        pen.line(oval(x, y, radius, radius, points=64), 0.035, 0.5 * dark, closed=True)
        for step in np.linspace(0.02, thick, 10):
            inside = radius * (1 - step)
            pen.fill(oval(x, y, radius, radius, points=64), dark / 10)
            pen.fill(oval(x, y, inside, inside, points=64), -dark / 10)
        pen.line(
            oval(x, y, radius * (1 - thick), radius * (1 - thick), points=64), 0.03, rng.uniform(0, 0.5), closed=True
        )
        shift = rng.normal(0, 0.08, 2) * radius
        glint = radius * (1 - thick) * rng.uniform(0.3, 0.7)
        pen.fill(oval(x + shift[0], y + shift[1], glint, glint), -rng.uniform(0.08, 0.3))


def appendicularia(pen: Pen, rng: Rng) -> None:
    """A small dense oval trunk and a long ribbon of a tail with a core, set on at an angle."""
    dense, long, wide = rng.uniform(0.5, 1.2), rng.uniform(0.2, 0.3), rng.uniform(0.12, 0.18)
    side = rng.choice((-1, 1))
    first = curl((-0.72, 0), side * rng.uniform(0.1, 1.1), rng.uniform(0.5, 0.9), -side * rng.uniform(0.0, 2.0), 20)
    after = float(np.arctan2(*(first[-1] - first[-2])[::-1]))
    second = curl(first[-1], after, rng.uniform(0.6, 1.2), side * rng.normal(0, 1.3), 24)
    tail = np.concatenate((first, second[1:]))
    half = rng.uniform(0.055, 0.095) * np.interp(np.linspace(0, 1, len(tail)), (0, 0.15, 0.75, 1), (0.5, 1, 0.9, 0.15))
    pen.body(ribbon(tail, half), rng.uniform(0.15, 0.45), rng.uniform(0.3, 0.6), width=0.018)
    pen.line(tail, 0.035, rng.uniform(0.4, 0.9))
    tilt = rng.normal(0, 0.3)
    trunk = oval(-0.78, 0, long, wide, tilt)
    pen.body(trunk, dense, 0.5, grain=0.5)
    pen.fill(oval(-0.72 + 0.3 * long, 0, 0.5 * long, 0.7 * wide, tilt), rng.uniform(0.6, 1.4), grain=0.7, pigment=True)
    pen.dots(np.array([-0.78, 0]) + rng.normal(0, 0.06, (4, 2)).astype(np.float32), 0.04, 0.6, pigment=True)
    if rng.random() < 0.2:
        pen.body(blob(rng, 0.42, 0.2) - point((0.75, 0)), 0.05, 0.2, grain=0.5, width=0.015)


def radiolarian(pen: Pen, rng: Rng) -> None:
    """A star: a dense capsule, a lattice shell, and needles that radiate from the middle."""
    spines, capsule, shell = int(rng.integers(8, 22)), rng.uniform(0.2, 0.36), rng.uniform(0.42, 0.62)
    angles = np.arange(spines) * 2 * np.pi / spines + rng.normal(0, 0.1, spines) + rng.uniform(0, 1)
    for angle in angles:
        needle = curl((0, 0), angle, rng.uniform(0.72, 1.0), rng.normal(0, 0.03), 6)
        pen.fill(ribbon(needle, np.linspace(0.035, 0.012, 6)), rng.uniform(0.5, 0.9))
    if rng.random() < 0.7:
        pen.body(blob(rng, shell, 0.06), rng.uniform(0.08, 0.3), rng.uniform(0.3, 0.8), grain=0.5)
        holes = rng.uniform(0, 2 * np.pi, 14)
        at = np.stack((np.cos(holes), np.sin(holes)), axis=1) * shell * rng.uniform(0.68, 0.95, (14, 1))
        pen.dots(at.astype(np.float32), 0.055, rng.choice((-0.25, 0.35)))
    pen.body(blob(rng, capsule, 0.15), rng.uniform(0.6, 1.4), 0.4, grain=0.8)
    pen.fill(blob(rng, capsule * 0.8, 0.2), rng.uniform(0.3, 1.0), grain=0.8, pigment=True)


ORGANISMS: dict[str, Callable[[Pen, Rng], None]] = {
    "copepod": copepod,
    "chain_diatom": chain_diatom,
    "dinoflagellate": dinoflagellate,
    "medusa": medusa,
    "arrow_worm": arrow_worm,
    "fish_larva": fish_larva,
    "detritus": detritus,
    "bubble": bubble,
    "appendicularia": appendicularia,
    "radiolarian": radiolarian,
}
