# Few labels on the embedded streets, whatever the head: short runs on 5 % of the labels (20 of 400
# frames).
_base_ = ["few_labels.py", "streets.py"]

finetune = dict(channels=32, steps=150, crop=(96, 128), photometric=dict(hue=0.2))
fractions = (0.05,)
