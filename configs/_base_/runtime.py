# What every run shares. A config that inherits this file states only what differs.
input = dict(
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    channel_order="RGB",
)
loader = dict(num_workers=2)
optim = dict(type="SGD", momentum=0.9, weight_decay=1e-4, base_batch=256, scaling="linear")
train = dict(accumulate=1, amp="off", channels_last=True, device="auto")
checkpoint = dict(every=100, keep=2)
log = dict(every=10, tensorboard=True)
health = dict(every=10)
seed = 0
