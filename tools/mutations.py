"""Put known faults into a copy of the code, one at a time: each must turn its named test red.

python tools/mutations.py           all of them
python tools/mutations.py NAME ...  some
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("densecl", "pointcl", "tests", "configs", "tools", "pyproject.toml")


@dataclass(frozen=True)
class Mutation:
    """A fault.

    Attributes:
        name: short.
        file: where, from the repository's root.
        old: text that stands there exactly once.
        new: what replaces it.
        test: the test that must notice.
    """

    name: str
    file: str
    old: str
    new: str
    test: str


MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        "geometry sign",
        "densecl/views/geometry.py",
        "x0, scale_x = x1, -scale_x",
        "x0, scale_x = x1, scale_x",
        "tests/views/test_geometry.py",
    ),
    Mutation(
        "half a pixel",
        "densecl/pairs/maps.py",
        "dtype=torch.float32) + 0.5) * (extent / cells)",
        "dtype=torch.float32)) * (extent / cells)",
        "tests/pairs/test_point_set.py",
    ),
    Mutation(
        "EMA and online swapped",
        "densecl/methods/moco_v2.py",
        'backbone = self.teacher["backbone"]',
        'backbone = self.online["backbone"]',
        "tests/methods/test_moco_v2.py::test_branches_are_not_swapped",
    ),
    Mutation(
        "EMA follows in the wrong direction",
        "densecl/memory/ema.py",
        "mine.lerp_(theirs.to(mine.dtype), 1.0 - momentum)",
        "mine.lerp_(theirs.to(mine.dtype), momentum)",
        "tests/methods/test_moco_v2.py::test_teacher_moves_by_the_momentum_rule_after_the_step",
    ),
    Mutation(
        "a dropped detach",
        "densecl/methods/densecl.py",
        '{"match": cells.detach(),',
        '{"match": cells,',
        "tests/methods/test_densecl.py"
        "::test_matching_uses_backbone_features_and_passes_no_gradient",
    ),
    Mutation(
        "a skipped queue update",
        "densecl/methods/moco_v2.py",
        "queue.push(gather_rows(key, counts=counts), gather_rows(source, counts=counts), step)",
        "pass",
        "tests/methods/test_moco_v2.py::test_queue_holds_the_newest_keys_with_their_images",
    ),
    Mutation(
        "match on the loss features",
        "densecl/methods/densecl.py",
        'match_by_similarity(queries, keys, field="match")',
        'match_by_similarity(queries, keys, field="loss")',
        "tests/methods/test_densecl.py"
        "::test_matching_uses_backbone_features_and_passes_no_gradient",
    ),
    Mutation(
        "dense keys of the wrong cell",
        "densecl/methods/densecl.py",
        'keys.fields["loss"][pairs.dst]',
        'keys.fields["loss"][pairs.src]',
        "tests/methods/test_densecl.py::test_dense_loss_equals_a_float64_loop_over_cells_and_keys",
    ),
    Mutation(
        "keys of the other ranks not gathered",
        "densecl/methods/moco_v2.py",
        "queue.push(gather_rows(key, counts=counts), gather_rows(source, counts=counts), step)",
        "queue.push(key, source, step)",
        "tests/methods/test_ranks.py::test_two_processes_make_the_steps_of_one",
    ),
    Mutation(
        "weight of the loss not summed over ranks",
        "densecl/distributed.py",
        "    mass = all_reduce_sum(weight)\n",
        "    mass = weight.detach() * world_size()\n",
        "tests/losses/test_two_processes.py"
        "::test_uneven_ranks_give_loss_and_gradient_of_one_process",
    ),
    Mutation(
        "statistics of the ranks averaged without their counts",
        "densecl/models/cross_process_norm.py",
        "    mean = (means * counts).sum(0) / total\n",
        "    mean = means.mean(0)\n",
        "tests/models/test_cross_process_norm.py"
        "::test_ranks_compute_what_one_process_with_all_rows_computes",
    ),
    Mutation(
        "targets from the online branch",
        "densecl/methods/pixel_level.py",
        "return self.points(self.teacher, view)",
        "return self.points(self.online, view)",
        "tests/methods/test_pixel_level.py::test_branches_are_not_swapped",
    ),
    Mutation(
        "pictures without a pair left out of the mean",
        "densecl/methods/pixpro.py",
        "            num_groups=queries.num_samples,\n",
        "",
        "tests/methods/test_pixpro.py::test_images_without_a_pair_count_in_the_mean",
    ),
    Mutation(
        "one log over all pairs of a cell",
        "densecl/methods/pixcontrast.py",
        'denominator="in"',
        'denominator="all"',
        "tests/methods/test_pixcontrast.py::test_loss_equals_a_float64_loop_over_cells",
    ),
    Mutation(
        "the momentum schedule stands still",
        "densecl/methods/pixel_level.py",
        "self.ema.update(self.online, step)",
        "self.ema.update(self.online, 1)",
        "tests/methods/test_pixel_level.py"
        "::test_teacher_moves_by_the_cosine_schedule_after_the_step",
    ),
    Mutation(
        "ego motion left out of the projection",
        "pointcl/sensors/projection.py",
        "steps += [ego_to_world, inverse(camera.ego_to_world)]",
        "steps += []",
        "tests/pointcl/sensors/test_projection.py",
    ),
    Mutation(
        "half a pixel in the unprojection",
        "pointcl/data/unprojection.py",
        "HALF = 0.5",
        "HALF = 0.0",
        "tests/pointcl/data/test_unprojection.py",
    ),
    Mutation(
        "half a pixel in a calibration",
        "pointcl/data/kitti_calibration.py",
        "HALF_PIXEL = 0.5",
        "HALF_PIXEL = 0.0",
        "tests/pointcl/data/test_kitti.py",
    ),
    Mutation(
        "a rotation's sign",
        "pointcl/views/rigid.py",
        "np.sin(angle) * cross",
        "-np.sin(angle) * cross",
        "tests/pointcl/views/test_rigid.py",
    ),
    Mutation(
        "superpixels of two pictures run into each other",
        "pointcl/methods/slidr.py",
        "return number_regions(maps), len(maps) * most",
        "return maps + 150 * torch.arange(len(maps)).view(-1, 1, 1), len(maps) * most",
        "tests/pointcl/methods/test_slidr.py::test_ids_beyond_150_stay_in_their_picture",
    ),
    Mutation(
        "links that do not follow their points",
        "pointcl/views/camera_views.py",
        "links.keep_points(views[0].index)",
        "links",
        "tests/pointcl/views/test_camera_views.py",
    ),
    Mutation(
        "a teacher dilated without its first convolutions",
        "pointcl/models/teacher.py",
        "before if first else rate",
        "rate",
        "tests/pointcl/models/test_teacher.py",
    ),
)


def copy_to(folder: Path) -> None:
    """The parts of the repository that tests need."""
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy2(source, folder / name)


def passes(folder: Path, test: str) -> bool:
    """Whether a test passes on the copy.

    Raises:
        RuntimeError: pytest could not run it at all (exit codes other than passed or failed).
    """
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest could not run {test}:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def noticed(mutation: Mutation) -> bool:
    """Apply one mutation to a fresh copy and say whether its test turned red."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_to(folder)
        if not passes(folder, mutation.test):
            raise RuntimeError(f"{mutation.test} is red without any mutation")
        path = folder / mutation.file
        text = path.read_text()
        if text.count(mutation.old) != 1:
            raise RuntimeError(
                f"{mutation.name}: {mutation.file} holds its text {text.count(mutation.old)} "
                "times; bring tools/mutations.py up to date"
            )
        path.write_text(text.replace(mutation.old, mutation.new))
        return not passes(folder, mutation.test)


def main() -> int:
    """Run the mutations named, or all; 1 if one survives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="default: all")
    args = parser.parse_args()
    survivors = 0
    for mutation in MUTATIONS:
        if args.names and mutation.name not in args.names:
            continue
        red = noticed(mutation)
        survivors += not red
        print(f"{'red' if red else 'SURVIVED':<9}{mutation.name:<36}{mutation.test}", flush=True)
    print(f"{survivors} survived" if survivors else "every mutation was noticed")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
