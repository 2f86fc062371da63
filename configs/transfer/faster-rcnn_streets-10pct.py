# Few-label detection on the embedded streets with Faster R-CNN.
#   densecl transfer faster-rcnn_streets-10pct --checkpoint densecl=work_dirs/.../last.pth
_base_ = ["../_base_/streets_detection.py"]

detection = dict(detector="faster-rcnn")
