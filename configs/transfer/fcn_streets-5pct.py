# Few-label segmentation of the embedded streets with the least head: one convolution on the last
# map, whose strides are traded for dilation so that a cell is 8 pixels wide. Otherwise as
# upernet_streets-5pct.
#   densecl transfer fcn_streets-5pct --checkpoint densecl=work_dirs/.../last.pth
_base_ = ["../_base_/streets_few_labels.py"]

finetune = dict(head="fcn", output_stride=8)
