"""A camera before a wall, written in the layouts of three data sets."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from pointcl.sensors import pose_from_quaternion

FX, FY, CX, CY = 30.0, 31.0, 15.5, 11.5
SIZE = (24, 32)
DISTANCE = 2.0


def poses(count: int, step: float = 0.1) -> list[np.ndarray]:
    """Camera to world: it looks along the world's x axis and moves to the right."""
    forward = pose_from_quaternion((0.5, -0.5, 0.5, -0.5))
    out = []
    for frame in range(count):
        pose = forward.copy()
        pose[:3, 3] = [0.0, -step * frame, 1.0]
        out.append(pose)
    return out


def depth(frame: int, per_metre: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A wall; pixel (0, 0) has no depth and, as in 7-Scenes, pixel (0, 1) none in another way."""
    image = np.full(size, round(DISTANCE * per_metre), np.uint16)
    image[0, 0], image[0, 1] = 0, 65535
    return image


def colour(frame: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """RGB that tells its column, row and frame."""
    image = np.zeros((*size, 3), np.uint8)
    image[..., 0] = np.arange(size[1]) * 3
    image[..., 1] = np.arange(size[0])[:, None] * 5
    image[..., 2] = frame + 1
    return image


def png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


def matrix(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, values)


def intrinsics(scale: float = 1.0, side: int = 3) -> np.ndarray:
    """Of images ``scale`` times as large, with whole pixel centres."""
    k = np.eye(side)
    k[0, 0], k[1, 1] = FX * scale, FY * scale
    k[0, 2], k[1, 2] = (CX + 0.5) * scale - 0.5, (CY + 0.5) * scale - 0.5
    return k


def seven_scenes(folder: Path, count: int = 4) -> Path:
    for frame, pose in enumerate(poses(count)):
        stem = folder / f"frame-{frame:06d}"
        png(stem.with_name(stem.name + ".depth.png"), depth(frame, 1000))
        png(stem.with_name(stem.name + ".color.png"), colour(frame))
        matrix(stem.with_name(stem.name + ".pose.txt"), pose)
    matrix(folder / "camera-intrinsics.txt", intrinsics())
    return folder


def tum(folder: Path, count: int = 4) -> Path:
    """Depth at 0, 0.1, ...; colour 8 ms later and pose 3 ms earlier, both listed backwards."""
    depths, colours, track = ["# depth"], ["# colour"], ["# trajectory"]
    for frame, pose in enumerate(poses(count)):
        time = 100 + frame * 0.1
        png(folder / f"depth/{time:.6f}.png", depth(frame, 5000))
        png(folder / f"rgb/{time + 0.008:.6f}.png", colour(frame))
        depths.append(f"{time:.6f} depth/{time:.6f}.png")
        colours.insert(1, f"{time + 0.008:.6f} rgb/{time + 0.008:.6f}.png")
        x, y, z = pose[:3, 3]
        track.insert(1, f"{time - 0.003:.4f} {x} {y} {z} -0.5 0.5 -0.5 0.5")
    for name, lines in (("depth", depths), ("rgb", colours), ("groundtruth", track)):
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    matrix(folder / "camera-intrinsics.txt", intrinsics())
    return folder


def exported(folder: Path, count: int = 4, factor: int = 2) -> Path:
    """ScanNet's folders; the colour camera has ``factor`` times the resolution."""
    for frame, pose in enumerate(poses(count)):
        png(folder / f"depth/{frame}.png", depth(frame, 1000))
        png(folder / f"color/{frame}.png", colour(frame).repeat(factor, 0).repeat(factor, 1))
        matrix(folder / f"pose/{frame}.txt", pose)
    matrix(folder / "intrinsic/intrinsic_depth.txt", intrinsics(side=4))
    matrix(folder / "intrinsic/intrinsic_color.txt", intrinsics(factor, side=4))
    return folder


def sens(path: Path, count: int = 4, version: int = 4, codecs: tuple[int, int] = (1, 1)) -> Path:
    """A recording as ScanNet's writer lays it out.

    Codecs of colour: 0 raw, 1 png, 2 jpeg; of depth: 0 raw, 1 zlib.
    """
    out = [struct.pack("<IQ", version, 6), b"wallie"]
    for k in (intrinsics(2, 4), np.eye(4), intrinsics(1, 4), np.eye(4)):
        out.append(k.astype("<f4").tobytes())
    height, width = SIZE
    out.append(struct.pack("<2i4If", *codecs, width * 2, height * 2, width, height, 1000.0))
    out.append(struct.pack("<Q", count))
    for frame, pose in enumerate(poses(count)):
        image = colour(frame).repeat(2, 0).repeat(2, 1)
        blob = image.tobytes()
        if codecs[0] in (1, 2):
            ending = ".png" if codecs[0] == 1 else ".jpg"
            blob = cv2.imencode(ending, image[..., ::-1])[1].tobytes()
        values = depth(frame, 1000).tobytes()
        values = zlib.compress(values) if codecs[1] == 1 else values
        out.append(pose.astype("<f4").tobytes())
        out.append(struct.pack("<4Q", frame * 33, frame * 33 + 1, len(blob), len(values)))
        out += [blob, values]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(out))
    return path


LAYOUTS = {
    "7scenes": seven_scenes,
    "tum": tum,
    "scannet": exported,
}
