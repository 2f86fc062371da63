# PointContrast with the hardest-contrastive loss, paper tier: the published values, ScanNet.
#   torchrun --nproc-per-node 8 -m pointcl pretrain \
#       pointcontrast-hardest_unet34c_8xb4-60000s_scannet-2.5cm \
#       --cfg-options data.dataset.root=/data/scannet
_base_ = ["pointcontrast_unet34c_8xb4-60000s_scannet-2.5cm.py"]

method = dict(loss="hardest", max_pairs=1024, candidates=256, margins=(0.1, 1.4))
