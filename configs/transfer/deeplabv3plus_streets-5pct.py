# Few-label segmentation of the embedded streets with DeepLabV3+: atrous pyramid on the last map at
# stride 16, decoder on the map of stride 4. Otherwise as upernet_streets-5pct.
#   densecl transfer deeplabv3plus_streets-5pct --checkpoint densecl=work_dirs/.../last.pth
_base_ = ["../_base_/streets_few_labels.py"]

finetune = dict(head="deeplabv3plus", output_stride=16)
