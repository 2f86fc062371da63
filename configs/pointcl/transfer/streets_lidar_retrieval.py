# Retrieval on the embedded streets' scans, with 5 % and all of the labels (6 and 120 scans): each
# point takes the vote of its 30 nearest labelled points, by the cosine of the backbone's maps of
# all levels, read at the points and laid side by side. Nothing is trained.
#   pointcl transfer streets_lidar_retrieval --checkpoint pointcontrast=work_dirs/.../last.pth
# Coordinates and intensity alone, z-scored, are a row of it: --controls points
# A scan has about 4000 points: the memory holds nearly all of 6 scans, or 170 of each of 120. Its
# size decides the number, so scores of other sizes do not compare.
_base_ = ["../_base_/streets_lidar.py"]

retrieval = dict(k=30, temperature=0.02, memory=20_000)
fractions = (0.05, 1.0)
