# Few-label segmentation of CamVid: UPerNet fine-tuned on 10 % of the official training split, drawn
# in temporal blocks, scored on the official test split. `--data-root` names the folder that holds
# train/, val/ and test/, each with images/ and labels/.
#   densecl transfer upernet_camvid-10pct --data-root DIR --checkpoint densecl=FILE
# The official split shares drives between training and test; read the numbers with that in mind.
_base_ = ["../_base_/upernet_few_labels.py", "../_base_/camvid.py"]

finetune = dict(channels=64, steps=300, resize=(180, 240), crop=(128, 160))
