# What every run on points shares. A config that inherits this file states only what differs.
loader = dict(num_workers=1)
optim = dict(type="SGD", lr=0.1, momentum=0.8, weight_decay=1e-4, scaling="none")
train = dict(accumulate=1, amp="off", device="auto")
checkpoint = dict(every=100, keep=2)
log = dict(every=10, tensorboard=True)
health = dict(every=10)
seed = 0
