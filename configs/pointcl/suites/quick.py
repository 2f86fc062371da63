# Minutes on 2 cores: frozen features of the embedded streets' scans, by a linear probe and by their
# nearest neighbours.
#   pointcl evaluate pointcontrast=work_dirs/.../last.pth slidr=FILE --suite quick
version = 1
protocols = ("streets_lidar_probe", "streets_lidar_retrieval")
