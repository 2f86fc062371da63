# Linear probe of frozen features on CamVid's official split, fitted to 10 % of the training photos,
# drawn in temporal blocks. `--data-root` names the folder that holds train/, val/ and test/, each
# with images/ and labels/.
#   densecl transfer probe_camvid --data-root DIR --checkpoint densecl=FILE
# The official split shares drives between training and test; read the numbers with that in mind.
_base_ = ["../_base_/camvid.py", "../_base_/three_subsets.py"]

probe = dict(grid=8, resize=(180, 240))
decays = (1e-5, 1e-3, 0.1, 1.0)
