# Linear probe of frozen features on the embedded streets, with 1, 5 and 25 % of the labels (4, 20
# and 100 of 400 frames): no step is made, and the grid is of the weight decay. Seconds a run.
#   densecl transfer probe_streets --checkpoint densecl=work_dirs/.../last.pth
_base_ = ["../_base_/streets.py", "../_base_/three_subsets.py"]

probe = dict(grid=8)
decays = (1e-5, 1e-3, 0.1, 1.0)
fractions = (0.01, 0.05, 0.25)
