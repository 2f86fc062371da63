# A case study on one labelled drive of your own in SemanticKITTI's layout: the beginning for
# training, then validation and the end for testing, gaps between them, since neighbouring scans are
# near copies. One drive says nothing about other drives: no benchmark.
#   pointcl transfer drive_by_time --data-root DIR --checkpoint slidr=FILE
# DIR holds sequences/00 and the lists train.txt, val.txt and test.txt. To write them:
#   from pointcl.data import SemanticKITTI
#   from pointcl.data.subset import write_time_split
#   shares = {"train": 0.5, "val": 0.2, "test": 0.3}
#   write_time_split(SemanticKITTI(DIR, ["00"]), DIR, shares, gap=2)
# The scores of each scan of the test part are in items.json, in the order of time.
version = 1

_drive = dict(type="SemanticKITTI", root=".", split=["00"])
data = dict(
    train=dict(type="ScanSubset", dataset=_drive, names="train.txt"),
    val=dict(type="ScanSubset", dataset=_drive, names="val.txt"),
    test=dict(type="ScanSubset", dataset=_drive, names="test.txt"),
    unlabelled=dict(type="ScanSubset", dataset=_drive, names="train.txt"),
)
voxels = "from checkpoint"
finetune = dict(steps=100, batch_size=2, class_weights="root")
learning_rates = (0.003, 0.01)
fractions = (0.3,)
blocks = 6
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
