"""Small data sets of scans in the layouts of the published ones, written for tests."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

P2 = [721.5377, 0, 609.5593, 44.85728, 0, 721.5377, 172.854, 0.2163791, 0, 0, 1, 0.002745884]
P3 = [721.5377, 0, 609.5593, -339.5242, 0, 721.5377, 172.854, 2.199936, 0, 0, 1, 0.002729905]
R0 = [0.9999239, 0.00983776, -0.007445048, -0.009869795, 0.9999421, -0.004278459]
R0 += [0.007402527, 0.004351614, 0.9999631]
VELO = [0.007533745, -0.9999714, -0.000616602, -0.004069766, 0.01480249, 0.0007280733, -0.9998902]
VELO += [-0.07631618, 0.9998621, 0.00752379, 0.01480755, -0.2717806]
IMU = [0.9999976, 0.0007553071, -0.002035826, -0.8086759, -0.0007854027, 0.9998898, -0.01482298]
IMU += [0.3195559, 0.002024406, 0.01482454, 0.9998881, -0.7997231]


def cloud(seed: int = 0, many: int = 200, columns: int = 4) -> np.ndarray:
    """(many, columns) float32: points all around, then intensity in [0, 1), then a ring."""
    rng = np.random.default_rng(seed)
    values = np.zeros((many, columns), np.float32)
    values[:, 0] = rng.uniform(-40, 40, many)
    values[:, 1] = rng.uniform(-40, 40, many)
    values[:, 2] = rng.uniform(-2, 2, many)
    values[:, 3] = rng.uniform(0, 1, many)
    if columns == 5:
        values[:, 3] = rng.integers(0, 256, many)
        values[:, 4] = rng.integers(0, 32, many)
    return values


def put(path: Path, content: str | bytes | np.ndarray | list[Any]) -> Path:
    """Write a file: text, bytes, an array's bytes, or JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list):
        content = json.dumps(content, indent=0)
    if isinstance(content, str):
        content = content.encode()
    path.write_bytes(content if isinstance(content, bytes) else content.tobytes())
    return path


def picture(path: Path, size: tuple[int, int], value: int = 90) -> Path:
    """A plain picture of (H, W)."""
    return put(path, _encoded(path.suffix, size, value))


@lru_cache
def _encoded(suffix: str, size: tuple[int, int], value: int) -> bytes:
    return cv2.imencode(suffix, np.full((*size, 3), value, np.uint8))[1].tobytes()


def line(key: str, numbers: list[float]) -> str:
    """One line of a KITTI calibration."""
    return f"{key}: {' '.join(f'{number:.12e}' for number in numbers)}\n"


def object_calibration(**changed: list[float]) -> str:
    """KITTI object's calibration file; a key can be changed."""
    values = {"P2": P2, "P3": P3, "R0_rect": R0, "Tr_velo_to_cam": VELO, "Tr_imu_to_velo": IMU}
    return "".join(line(key, changed.get(key, numbers)) for key, numbers in values.items())


def kitti(
    root: Path, stems: tuple[str, ...] = ("000003", "000008"), split: str = "training"
) -> Path:
    """KITTI object; clouds, pictures of 375 x 1242, calibration, and a label file each."""
    for seed, stem in enumerate(stems):
        put(root / split / "velodyne" / f"{stem}.bin", cloud(seed))
        picture(root / split / "image_2" / f"{stem}.png", (375, 1242))
        put(root / split / "calib" / f"{stem}.txt", object_calibration())
        if split == "training":
            put(
                root / split / "label_2" / f"{stem}.txt",
                "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.5 1.6 4.0 1.0 1.65 20.0 -1.2\n"
                "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10\n",
            )
    return root


def kitti_raw(root: Path, frames: tuple[int, ...] = (0, 1, 3)) -> Path:
    """One drive of KITTI raw; number 2 is missing, as scans of real drives are."""
    day = root / "2011_09_26"
    velo = np.array(VELO).reshape(3, 4)
    imu = np.array(IMU).reshape(3, 4)
    put(
        day / "calib_cam_to_cam.txt",
        "calib_time: 09-Jan-2012 13:57:47\ncorner_dist: 9.950000e-02\n"
        + line("S_rect_02", [1242, 375])
        + line("R_rect_00", R0)
        + line("P_rect_02", P2),
    )
    for name, pose in (("calib_velo_to_cam", velo), ("calib_imu_to_velo", imu)):
        text = line("R", list(pose[:, :3].ravel())) + line("T", list(pose[:, 3]))
        put(day / f"{name}.txt", "calib_time: 15-Mar-2012 11:37:16\n" + text)
    drive = day / "2011_09_26_drive_0001_sync"
    times = "".join(f"2011-09-26 13:02:{25 + n / 10:.9f}\n" for n in range(max(frames) + 1))
    for sensor in ("velodyne_points", "image_02", "oxts"):
        put(drive / sensor / "timestamps.txt", times)
    for number in frames:
        put(drive / "velodyne_points" / "data" / f"{number:010d}.bin", cloud(number))
        picture(drive / "image_02" / "data" / f"{number:010d}.png", (375, 1242))
        packet = [49.0 + 1e-5 * number, 8.4, 110.0 + number, 0.01, -0.02, 0.5, *[0.0] * 24]
        put(drive / "oxts" / "data" / f"{number:010d}.txt", " ".join(map(str, packet)) + "\n")
    return root


def semantic_kitti(root: Path, drives: tuple[str, ...] = ("00", "08"), scans: int = 2) -> Path:
    """SemanticKITTI with poses, times and pictures of 370 x 1226."""
    for seed, number in enumerate(drives):
        drive = root / "sequences" / number
        put(drive / "calib.txt", line("P2", P2) + line("P3", P3) + line("Tr", VELO))
        poses = [[1, 0, 0, 0.1 * n, 0, 1, 0, 0, 0, 0, 1, 1.5 * n] for n in range(scans)]
        put(drive / "poses.txt", "".join(" ".join(map(str, pose)) + "\n" for pose in poses))
        put(drive / "times.txt", "".join(f"{0.1 * n:e}\n" for n in range(scans)))
        for n in range(scans):
            points = cloud(seed * 10 + n)
            raw = np.resize(np.array([0, 10, 40, 252, 70, 259], np.uint32), len(points))
            raw |= np.resize(np.array([0, 7, 0, 9, 0, 12], np.uint32), len(points)) << 16
            put(drive / "velodyne" / f"{n:06d}.bin", points)
            put(drive / "labels" / f"{n:06d}.label", raw)
            picture(drive / "image_2" / f"{n:06d}.png", (370, 1226))
    return root


CAMERAS = ("FRONT", "FRONT_RIGHT", "BACK_RIGHT", "BACK", "BACK_LEFT", "FRONT_LEFT")
TURNS = dict(zip(CAMERAS, (0, -55, -110, 180, 110, 55), strict=True))
"""Degrees that each camera looks to the left of the vehicle's front."""


def about_z(degrees: float) -> list[float]:
    """Quaternion (w, x, y, z)."""
    half = np.radians(degrees) / 2
    return [float(np.cos(half)), 0.0, 0.0, float(np.sin(half))]


def times_quaternion(a: list[float], b: list[float]) -> list[float]:
    """The rotation a after b."""
    (w, x, y, z), (p, q, r, s) = a, b
    product = (w * p - x * q - y * r - z * s, w * q + x * p + y * s - z * r)
    return [*product, w * r - x * s + y * p + z * q, w * s + x * r - y * q + z * p]


OPTICAL = [0.5, -0.5, 0.5, -0.5]
"""Camera (x right, y down, z forward) -> vehicle (x forward, y left, z up)."""


def nuscenes(
    root: Path, scenes: dict[str, int] | None = None, version: str = "v1.0-mini", **tables: Any
) -> Path:
    """nuScenes: per scene some samples half a second apart, and a sweep between two of them.

    The vehicle starts at (100, 200, 0), heads north (yaw 90 degrees) at 1 m/s and so moves half
    a metre a sample; the cameras fire when it is another half metre on. A table passed by name as
    a function of its rows is changed before it is written.
    """
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in _TABLES}
    lidar_key = cloud(1, columns=5)
    lidar_key[0, :3] = 0.5, 10, 0
    rows["category"] = [
        {"token": f"cat{index}", "name": name, "index": index, "description": ""}
        for index, name in _CATEGORIES.items()
    ]
    channels = ["LIDAR_TOP", *(f"CAM_{name}" for name in CAMERAS), "RADAR_FRONT"]
    rows["sensor"] = [
        {"token": f"sensor-{name}", "channel": name, "modality": ""} for name in channels
    ]
    jpeg = _encoded(".jpg", (900, 1600), 90)
    for scene, samples in (scenes or {"scene-0061": 2, "scene-0103": 1}).items():
        calibrated(rows, scene, channels)
        rows["scene"].append(
            {"token": scene + "!", "name": scene, "first_sample_token": f"{scene}/0"}
        )
        rows["instance"].append({"token": f"{scene}/car", "category_token": "cat17"})
        sweep = ""
        for number in range(samples):
            sample, last = f"{scene}/{number}", number == samples - 1
            after = "" if last else f"{scene}/{number + 1}"
            rows["sample"].append(
                {"token": sample, "scene_token": scene + "!", "next": after, "timestamp": 0}
            )
            rows["sample_annotation"].append(
                {
                    "token": f"{sample}/box",
                    "sample_token": sample,
                    "instance_token": f"{scene}/car",
                    "translation": [100.0, 220.0, 1.0],
                    "rotation": about_z(120),
                    "size": [2.0, 4.0, 1.5],
                }
            )
            at = 0.5 * number
            for channel in channels:
                token = f"{sample}/{channel}"
                late = 0.0 if channel == "LIDAR_TOP" else 0.5
                suffix = "jpg" if channel.startswith("CAM") else "pcd.bin"
                file = f"samples/{channel}/{scene}__{number}.{suffix}"
                record(rows, token, sample, scene, channel, file, at + late, prev=sweep)
                put(root / file, jpeg if suffix == "jpg" else lidar_key)
            label = f"lidarseg/{version}/{sample.replace('/', '-')}_lidarseg.bin"
            rows["lidarseg"].append(
                {"sample_data_token": f"{sample}/LIDAR_TOP", "filename": label, "token": label}
            )
            raw = np.resize(np.array([17, 24, 0, 30, 2, 6, 31, 9], np.uint8), len(lidar_key))
            put(root / label, raw)
            sweep = f"{sample}/sweep"
            file = f"sweeps/LIDAR_TOP/{scene}__{number}.pcd.bin"
            token = f"{sample}/LIDAR_TOP"
            record(rows, sweep, sample, scene, "LIDAR_TOP", file, at + 0.25, token, key=False)
            put(root / file, lidar_key[:50])
    for name, content in rows.items():
        put(root / version / f"{name}.json", tables.get(name, lambda rows: rows)(content))
    return root


def calibrated(rows: dict[str, list[dict[str, Any]]], scene: str, channels: list[str]) -> None:
    """The sensors of one scene's vehicle."""
    for name in channels:
        lidar = not name.startswith("CAM")
        turn = about_z(-90) if lidar else times_quaternion(about_z(TURNS[name[4:]]), OPTICAL)
        rows["calibrated_sensor"].append(
            {
                "token": f"{scene}/{name}",
                "sensor_token": f"sensor-{name}",
                "translation": [1.0, 0.0, 1.8] if lidar else [1.5, 0.0, 1.5],
                "rotation": turn,
                "camera_intrinsic": [] if lidar else [[1000, 0, 800], [0, 1000, 450], [0, 0, 1]],
            }
        )


def record(
    rows: dict[str, list[dict[str, Any]]],
    token: str,
    sample: str,
    scene: str,
    channel: str,
    file: str,
    moved: float,
    prev: str = "",
    key: bool = True,
) -> None:
    """A file of a sensor, and the vehicle's pose after ``moved`` metres (and seconds)."""
    camera = channel.startswith("CAM")
    rows["sample_data"].append(
        {
            "token": token,
            "sample_token": sample,
            "ego_pose_token": token + "!",
            "calibrated_sensor_token": f"{scene}/{channel}",
            "timestamp": 1_500_000_000_000_000 + int(moved * 1e6),
            "filename": file,
            "is_key_frame": key,
            "prev": prev if channel == "LIDAR_TOP" else "",
            "next": "",
            "height": 900 if camera else 0,
            "width": 1600 if camera else 0,
        }
    )
    place = [100.0, 200.0 + moved, 0.0]
    rows["ego_pose"].append({"token": token + "!", "translation": place, "rotation": about_z(90)})


_TABLES = ("scene", "sample", "sample_data", "ego_pose", "sensor", "calibrated_sensor")
_TABLES += ("sample_annotation", "instance", "category", "lidarseg")
_CATEGORIES = {
    0: "noise",
    2: "human.pedestrian.adult",
    6: "human.pedestrian.police_officer",
    9: "movable_object.barrier",
    17: "vehicle.car",
    24: "flat.driveable_surface",
    30: "static.vegetation",
    31: "vehicle.ego",
}


def argoverse2(
    root: Path, log: str = "train/log-a", stamps: tuple[int, ...] = (10**9, 11 * 10**8)
) -> Path:
    """One log of Argoverse 2 with one camera; the vehicle drives along x at 10 m/s."""
    import pyarrow as pa
    import pyarrow.feather as feather

    def write(path: Path, **columns: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        feather.write_feather(pa.table({k: pa.array(v) for k, v in columns.items()}), str(path))

    folder, camera = root / log, "ring_front_center"
    pictures = [stamp + 20_000_000 for stamp in stamps]
    times = sorted([*stamps, *pictures])
    seconds = np.array(times) * 1e-9
    one, none = np.ones(len(times)), np.zeros(len(times))
    pose = {"qw": one, "qx": none, "qy": none, "qz": none, "ty_m": none, "tz_m": none}
    write(folder / "city_SE3_egovehicle.feather", timestamp_ns=times, tx_m=10 * seconds, **pose)
    lens = {"fx_px": 1000.0, "fy_px": 1000.0, "cx_px": 400.0, "cy_px": 300.0, "k1": -0.2}
    lens |= {"k2": 0.0, "k3": 0.0, "height_px": 600, "width_px": 800}
    write(
        folder / "calibration" / "intrinsics.feather",
        sensor_name=[camera],
        **{name: [value] for name, value in lens.items()},
    )
    place = dict(zip(("qw", "qx", "qy", "qz"), OPTICAL, strict=True))
    place |= {"tx_m": 1.5, "ty_m": 0.0, "tz_m": 1.4}
    write(
        folder / "calibration" / "egovehicle_SE3_sensor.feather",
        sensor_name=[camera, "up_lidar"],
        **{name: [value, value] for name, value in place.items()},
    )
    for seed, stamp in enumerate(stamps):
        values = cloud(seed)
        write(
            folder / "sensors" / "lidar" / f"{stamp}.feather",
            **{axis: values[:, i].astype(np.float16) for i, axis in enumerate("xyz")},
            intensity=(values[:, 3] * 255).astype(np.uint8),
            laser_number=(np.arange(len(values)) % 64).astype(np.uint8),
            offset_ns=(np.arange(len(values)) * 1000).astype(np.int32),
        )
        picture(folder / "sensors" / "cameras" / camera / f"{pictures[seed]}.jpg", (600, 800))
    both = [*stamps, stamps[0]]
    turn = about_z(30)
    write(
        folder / "annotations.feather",
        timestamp_ns=both,
        track_uuid=["b"] * len(stamps) + ["a"],
        category=["BUS"] * len(stamps) + ["PEDESTRIAN"],
        length_m=[4.0] * len(both),
        width_m=[2.0] * len(both),
        height_m=[1.5] * len(both),
        **{q: [turn[i]] * len(both) for i, q in enumerate(("qw", "qx", "qy", "qz"))},
        tx_m=[10.0] * len(both),
        ty_m=[1.0] * len(both),
        tz_m=[0.5] * len(both),
    )
    return root
