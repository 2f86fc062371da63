# Linear probe of frozen features on the embedded streets' scans, fitted to 5 % of the labels (6 of
# 120 scans), three label subsets; no step is made, and the grid is of the weight decay.
#   pointcl transfer streets_lidar_probe --checkpoint pointcontrast=work_dirs/.../last.pth
# The voxels are those that each checkpoint was pretrained on.
_base_ = ["../_base_/streets_lidar.py"]

probe = dict(points=2000)
decays = (1e-4, 1e-2)
fractions = (0.05,)
