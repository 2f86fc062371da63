# PPKT, smoke tier: points against pixels, on SLidR's smoke data.
#   pointcl pretrain ppkt_unet14w8_1xb2-120s_streets-50cm
# The teacher is UNTRAINED: random weights show that everything runs. Give it the network of a 2D
# run: --cfg-options method.teacher=work_dirs/densecl_r18w32_1xb32-500s_streets-64px/last.pth
# About a minute on 2 cores, with rendering scans and pictures once; about 2000 voxels a scan.
_base_ = ["../slidr/slidr_unet14w8_1xb2-120s_streets-50cm.py"]

method = dict(type="PPKT", max_pairs=1024)
views = dict(pictures=dict(superpixels=None))
