# What the few-label protocols with UPerNet share.
_base_ = ["few_labels.py"]

finetune = dict(head="upernet")
