# The embedded streets' scans: frozen features by a linear probe, by their nearest neighbours and by
# what they find again in the next scan, and fine-tuning with few labels.
#   pointcl evaluate pointcontrast=work_dirs/.../last.pth --suite streets
version = 1
protocols = (
    "streets_lidar_probe",
    "streets_lidar_retrieval",
    "streets_lidar_correspondence",
    "streets_lidar-5pct",
)
