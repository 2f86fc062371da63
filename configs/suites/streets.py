# Everything that is measured on pictures of the embedded streets: frozen features first, then
# fine-tuning with few labels. FCOS and Faster R-CNN: --protocols fcos_streets-10pct ...
#   densecl evaluate densecl=work_dirs/.../last.pth --suite streets
version = 1
protocols = (
    "retrieval_streets",
    "probe_streets",
    "measures_streets",
    "correspondence_streets",
    "correspondence-views_streets",
    "prompts_streets",
    "propagation_streets",
    "unsupervised_streets",
    "overclustering_streets",
    "upernet_streets-5pct",
    "upernet-coretuning_streets-5pct",
    "deeplabv3plus_streets-5pct",
    "fcn_streets-5pct",
    "retinanet_streets-10pct",
)
