# The embedded streets, part by part.
data = dict(
    train=dict(type="Streets", split="train"),
    val=dict(type="Streets", split="val"),
    test=dict(type="Streets", split="test"),
    unlabelled=dict(type="Streets", split="pretrain"),
)
