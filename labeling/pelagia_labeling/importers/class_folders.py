"""Class folders: each folder of one level below the source is a class, and its name is the class name.

Invariant: a folder above the classes (``train``, ``2006``, ``imgs``) never becomes a class without being asked for. If
the folders do not say clearly which level holds the classes, the source is refused, with the options that decide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pelagia.dataset.splits import split_of
from pelagia.dataset.write import Candidate
from pelagia.errors import DatasetError, InputError, first_few
from pelagia.sources import Listing, SourceImage, list_images
from pelagia.sources.image import is_junk
from pelagia.system.files import printable
from pelagia_labeling.importers.imported import Import


def from_class_folders(
    src: Path, listing: Listing | None = None, class_level: int | None = None, split_folders: bool = False
) -> Import:
    """The images below ``src``; an image in a deeper folder gets the class of the class folder that contains it.

    Left out and counted: images above the class folders (``no_class``), images inside an instrument's file
    (``inside_a_bin``), and what the listing leaves out.

    Args:
        src: the folder to import.
        listing: holds the options of the listing, and gets what is left out.
        class_level: the level of the class folders; 1 is directly below ``src``. By default it is found.
        split_folders: whether folders such as train, val and test are the published split of their images.

    Raises:
        DatasetError: no image is in a class folder.
        InputError: it is not clear which folders are the classes, or there are no folders of a split.
    """
    listing = Listing() if listing is None else listing
    everything = list(list_images([src], listing))
    images = [image for image in everything if isinstance(image.file, Path)]
    tree = _Tree(src, [tuple(image.path.split("/")[:-1]) for image in images])
    level, split_level = tree.levels(class_level, split_folders)
    candidates = _candidates(images, tree, level, split_level)
    if not candidates:
        at = f" at level {level}" if level > 1 else ""
        inside = len(everything) - len(images)
        others = f", {inside} images inside files of an instrument," if inside else ""
        raise DatasetError(
            f"{src} holds {len(images)} images{others} and no class folder{at}: put the images of each class into a "
            "folder with the name of the class, or give the labels with --manifest"
        )
    counts = Counter(no_class=len(images) - len(candidates), inside_a_bin=len(everything) - len(images))
    warnings = (*listing.warning_texts(), *tree.warnings(class_level, split_folders))
    source = {"kind": "class_folders", "folder": printable(src.name)}
    return Import(
        candidates, source, None, dict(counts + listing.left_out), warnings, "folders" if split_folders else ""
    )


def _candidates(images: Sequence[SourceImage], tree: _Tree, level: int, split_level: int) -> list[Candidate]:
    """The images that are deep enough, with the names of their folders as class and split."""
    return [
        Candidate(
            image.file,
            folders[level - 1],
            image.path,
            split=folders[split_level - 1] if split_level else "",
            reader=image.reader,
        )
        for image, folders in zip(images, tree.folders, strict=True)
        if len(folders) >= max(level, split_level)
    ]


@dataclass(frozen=True)
class _Tree:
    """The folders above each image of a source, from the top, and what they mean."""

    src: Path
    folders: Sequence[tuple[str, ...]]

    def names(self, level: int) -> list[str]:
        """The names of the folders of a level, sorted; 1 is directly below the source."""
        return sorted({names[level - 1] for names in self.folders if len(names) >= level})

    @property
    def depth(self) -> int:
        """The number of folders above the deepest image."""
        return max(map(len, self.folders), default=0)

    @property
    def split_level(self) -> int:
        """The level whose folders are named as splits, at least two of them; 0 if there is none."""
        for level in range(1, self.depth + 1):
            splits = {split_of(name) for name in self.names(level)}
            if None not in splits and len(splits) > 1:
                return level
        return 0

    def levels(self, class_level: int | None, split_folders: bool) -> tuple[int, int]:
        """The level of the classes, and that of the published split, or 0. Raises InputError if they are not clear."""
        if not split_folders:
            if class_level is None:
                self._refuse_unclear()
            return class_level or 1, 0
        split_level = self.split_level
        if not split_level:
            raise InputError(
                f"no folders of {self.src} are named train, val and test (found: {first_few(self.names(1))}): "
                "leave --split-folders out"
            )
        level = class_level or (split_level + 1 if self.depth > split_level else split_level - 1)
        if level in (0, split_level):
            raise InputError(self._no_classes(split_level))
        return level, split_level

    def _no_classes(self, split_level: int) -> str:
        names = ", ".join(self.names(split_level))
        return (
            f"{self.src} has the folders {names}, which are splits, and no class folders in them: give the labels with "
            "--manifest"
        )

    def _refuse_unclear(self) -> None:
        """Raises InputError if the folders directly below the source may not be the classes."""
        tops, split_level = self.names(1), self.split_level
        if split_level:
            level = split_level + 1 if self.depth > split_level else split_level - 1
            if level == 0:
                raise InputError(self._no_classes(split_level))
            raise InputError(
                f"the folders {', '.join(self.names(split_level))} in {self.src} look like a published split, not like "
                f"classes: keep that split with --split-folders, or make a new split with --class-level {level}"
            )
        direct = sum(len(names) == 1 for names in self.folders)
        inside = sum(len(names) > 1 for names in self.folders)
        if direct >= inside:
            return
        level = next((level for level in range(1, self.depth) if len(self.names(level)) > 1), 1)
        inner = next((at for at in range(max(2, level), self.depth + 1) if len(self.names(at)) > 1), self.depth)
        verb = "holds" if len(tops) == 1 else "hold"
        few = f"{verb} {direct or 'no'} image{'s' * (direct != 1)}, and {inside} are in folders inside"
        raise InputError(
            f"it is not clear which folders in {self.src} are the classes: {first_few(tops)} {few} "
            f"({first_few(self.names(inner))}). If these are the classes, add --class-level {inner}; if "
            f"{first_few(tops, 2)} {'is a class' if len(tops) == 1 else 'are the classes'}, add --class-level 1"
        )

    def warnings(self, class_level: int | None, split_folders: bool) -> list[str]:
        """What was assumed about the folders, or looks wrong."""
        found = []
        split_level = 0 if split_folders else self.split_level
        if split_level and class_level != split_level:
            names = ", ".join(self.names(split_level))
            found.append(
                f"the folders {names} look like a published split: it is not used, and new splits are made; keep it "
                "with --split-folders"
            )
        deeper = [names for names in self.folders if len(names) > 1]
        if class_level is None and not split_folders and deeper:
            found.append(
                f"{len(deeper)} of {len(self.folders)} images are in folders inside a class folder, such as "
                f"{'/'.join(deeper[0])}: they get the class of the outer folder, {deeper[0][0]}; "
                "choose another level with --class-level"
            )
        if class_level in (None, 1) and not split_folders and (empty := self._without_images()):
            found.append(f"folders without an image, which are not classes of the dataset: {first_few(empty)}")
        if class_level is None and not split_folders and len(only := self.names(1)) == 1:
            found.append(
                f"there is only one class folder, {only[0]}, but training needs two classes: if a table has the "
                "labels, give it with --manifest"
            )
        return found

    def _without_images(self) -> list[str]:
        known = set(self.names(1))
        below = (path for path in self.src.iterdir() if path.is_dir() and not path.is_symlink())
        return sorted(name for path in below if not is_junk(path.name) and (name := printable(path.name)) not in known)
