"""Views from JPEG files: samples a second and core, beside albumentations and Pillow.

    OMP_NUM_THREADS=1 python tools/benchmarks/views.py [--size 224] [--files 32]

The files are synthetic photos (1/f noise, occluding shapes; about as many bytes a pixel as real
photos) written into a temporary folder. A sample is decoded once, cut and coloured twice, and
stacked into batches. Pillow and albumentations' operations get the very draws that ours got, so
that the printed difference of the views, in grey levels, is that of the pixels alone;
albumentations' ``Compose`` draws for itself when it is timed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import timing
import torch
from photos import write_photos

from densecl.data import ImageFolder
from densecl.data.decode import read_rgb
from densecl.data.seeding import rng
from densecl.data.views import build_loader, collate_views
from densecl.views import ViewGenerator
from densecl.views.crops import Box, random_box
from densecl.views.photometric import ColourDraw, apply_colour, draw_colour
from densecl.views.recipe import RECIPES, ViewRecipe
from densecl.views.warp import crop_resize

try:
    from PIL import Image, ImageEnhance, ImageFilter, ImageOps
except ImportError:
    Image = None  # type: ignore[assignment]

Draw = tuple[Box, bool, ColourDraw]
PHOTOS = {"480 x 360": (360, 480), "500 x 375": (375, 500), "640 x 480": (480, 640)}
BATCH = 16


def drawn(recipe: ViewRecipe, source: tuple[int, int], side: int, *ids: int) -> Draw:
    """Crop, flip and colours of one view, as ``ViewGenerator`` draws them."""
    random = rng(0, *ids)
    box = random_box(source, recipe.scale, recipe.ratio, random)
    flip = bool(random.random(2)[0] < recipe.hflip)
    random.random(2)
    return box, flip, draw_colour(recipe, (side, side), random)


def by_albumentations(image: np.ndarray, draw: Draw, side: int, interpolation: int) -> np.ndarray:
    """Its operations on our draws: what its ``Compose`` would make of them."""
    (x0, y0, x1, y1), flip, colour = draw
    view = cv2.resize(image[y0:y1, x0:x1], (side, side), interpolation=interpolation)
    return apply_colour(cv2.flip(view, 1) if flip else view, colour)


def by_pillow(image: np.ndarray, draw: Draw, side: int) -> np.ndarray:
    """torchvision's transforms of PIL images, on our draws."""
    box, flip, colour = draw
    view = Image.fromarray(image).crop(box).resize((side, side), Image.Resampling.BILINEAR)
    view = ImageOps.mirror(view) if flip else view
    if colour.jitter is not None:
        enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        for number in colour.order:
            if number < 3:
                view = enhancers[number](view).enhance(colour.jitter[number])
                continue
            hue, *rest = view.convert("HSV").split()
            moved = np.asarray(hue) + np.uint8(round(colour.jitter[3] * 255) % 256)
            view = Image.merge("HSV", (Image.fromarray(moved), *rest)).convert("RGB")
    view = view.convert("L").convert("RGB") if colour.grey else view
    if colour.sigma is not None:
        view = view.filter(ImageFilter.GaussianBlur(colour.sigma))
    return np.asarray(ImageOps.solarize(view) if colour.solarise else view)


def by_compose(made: Sequence[Callable], image: np.ndarray, _: int, view: int) -> np.ndarray:
    """One view by albumentations' own pipeline."""
    return made[view](image=image)["image"]


def batches(paths: list[Path], cut: Callable[[np.ndarray, int, int], np.ndarray]) -> object:
    """Decode, two views, stack: what a loader of these parts would do."""
    made = None
    for start in range(0, len(paths), BATCH):
        rows: list[list[torch.Tensor]] = [[], []]
        for number, path in enumerate(paths[start : start + BATCH], start):
            image = read_rgb(path)
            for view in (0, 1):
                planes = cut(image, number, view).transpose(2, 0, 1)
                rows[view].append(torch.from_numpy(np.ascontiguousarray(planes)))
        made = [torch.stack(row) for row in rows]
    return made


def compose(recipe: ViewRecipe, side: int, interpolation: int) -> Callable[..., dict]:
    """The recipe as albumentations writes it."""
    import albumentations as A

    strengths = (recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue)
    return A.Compose(
        [
            A.RandomResizedCrop(
                (side, side), recipe.scale, recipe.ratio, interpolation=interpolation
            ),
            A.HorizontalFlip(p=recipe.hflip),
            A.ColorJitter(*strengths, p=recipe.jitter),
            A.ToGray(p=recipe.grey),
            A.GaussianBlur(blur_limit=0, sigma_limit=recipe.blur_sigma, p=recipe.blur),
            A.Solarize(threshold_range=(128 / 255, 128 / 255), p=recipe.solarise),
        ]
    )


def forms(
    folder: Path, paths: list[Path], name: str, side: int
) -> tuple[dict[str, timing.Form], dict[str, str]]:
    """What is timed, and how far its views are from ours in grey levels, mean (largest)."""
    recipes = [RECIPES[name][view % len(RECIPES[name])] for view in (0, 1)]
    loader = build_loader(ImageFolder(folder), ViewGenerator(name, side), min(BATCH, len(paths)))
    run: dict[str, timing.Form] = {
        "ours": lambda: list(islice(iter(loader), -(-len(paths) // BATCH)))
    }
    literal: dict[str, Callable[[np.ndarray, Draw], np.ndarray]] = {}
    for label, way in (("linear", cv2.INTER_LINEAR), ("area", cv2.INTER_AREA)):
        made = [compose(recipe, side, way) for recipe in recipes]
        run[f"albumentations, {label}"] = partial(batches, paths, partial(by_compose, made))
        literal[f"albumentations, {label}"] = partial(
            by_albumentations, side=side, interpolation=way
        )
    if Image is not None:
        source = read_rgb(paths[0]).shape[:2]
        run["Pillow"] = partial(
            batches,
            paths,
            lambda image, number, view: by_pillow(
                image, drawn(recipes[view], source, side, 0, number, view), side
            ),
        )
        literal["Pillow"] = partial(by_pillow, side=side)
    return run, {"ours": "-", **{k: apart(paths, name, side, cut) for k, cut in literal.items()}}


def apart(
    paths: list[Path], name: str, side: int, cut: Callable[[np.ndarray, Draw], np.ndarray]
) -> str:
    """Mean (largest) difference to the views that the loader's generator makes."""
    generator, gaps = ViewGenerator(name, side), []
    for sample in map(ImageFolder(paths[0].parent).load, range(min(4, len(paths)))):
        image = sample.frames[0].image
        for view, ours in enumerate(generator(sample, 0)):
            draw = drawn(generator.recipes[view], image.shape[:2], side, 0, sample.source, view)
            gaps.append(ours.image.permute(1, 2, 0).numpy() - cut(image, draw).astype(float))
    gap = np.abs(np.stack(gaps))
    return f"{gap.mean():.2f} ({gap.max():.0f})"


def parts(folder: Path, paths: list[Path], name: str, side: int) -> dict[str, timing.Form]:
    """The steps of one sample apart, on the loader's own draws."""
    images = [read_rgb(path) for path in paths]
    recipes = [RECIPES[name][view % len(RECIPES[name])] for view in (0, 1)]

    def draw_all() -> list[tuple[np.ndarray, Draw]]:
        return [
            (image, drawn(recipe, image.shape[:2], side, 0, number, view))
            for number, image in enumerate(images)
            for view, recipe in enumerate(recipes)
        ]

    def cut(item: tuple[np.ndarray, Draw]) -> np.ndarray:
        image, (box, flip, _) = item
        view = crop_resize(image, box, (side, side))
        return cv2.flip(view, 1) if flip else view

    draws = draw_all()
    cuts = [cut(item) for item in draws]
    plain = [replace(draw[2], sigma=None) for _, draw in draws]
    blur = [replace(draw[2], jitter=None, grey=False, solarise=False) for _, draw in draws]
    dataset, generator = ImageFolder(folder), ViewGenerator(name, side)
    views = [generator(dataset[number], 0) for number in range(min(BATCH, len(paths)))]
    rounds = range(-(-len(paths) // BATCH))
    return {
        "decode": lambda: [read_rgb(path) for path in paths],
        "draw": draw_all,
        "crop, resize, flip": lambda: [cut(item) for item in draws],
        "jitter, grey, solarise": lambda: list(map(apply_colour, cuts, plain)),
        "blur": lambda: list(map(apply_colour, cuts, blur)),
        "collate": lambda: [collate_views(views) for _ in rounds],
    }


def main(arguments: list[str] | None = None) -> None:
    """Print the two tables."""
    parser = timing.parser(__doc__)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--files", type=int, default=32)
    options = parser.parse_args(arguments)
    timing.prepare(options)
    side, count = (32, 2) if options.quick else (options.size, options.files)
    photos = {"48 x 40": (40, 48)} if options.quick else PHOTOS
    rows, broken = [], []
    for title, size in photos.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            paths = write_photos(folder, size, count)
            weight = sum(path.stat().st_size for path in paths) / count / 1000
            for name in ("mocov2", "byol"):
                run, apart_by = forms(folder, paths, name, side)
                for label, time in timing.alternate(run, options.rounds).items():
                    cpu, wall = time.cpu / count, time.wall / count
                    spent = [f"{cpu:.2f}", f"{wall:.2f}", f"{1e3 / cpu:.0f}"]
                    what = f"{title}, {weight:.0f} kB", name, label
                    rows.append([*what, *spent, apart_by[label]])
                steps = timing.alternate(parts(folder, paths, name, side), options.rounds)
                broken.append(
                    [title, name, *(f"{step.cpu / count:.2f}" for step in steps.values())]
                )
    head = ["files", "recipe", "form", "CPU ms a sample", "wall ms", "samples a second and core"]
    timing.table(
        f"Two views of {side} px from JPEG files", [*head, "difference, grey levels"], rows
    )
    timing.table("Where ours goes, CPU ms a sample", ["files", "recipe", *steps], broken)


if __name__ == "__main__":
    main()
