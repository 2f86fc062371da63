# Minutes on 2 cores: frozen features of the embedded streets; nothing is trained but a linear map.
#   densecl evaluate densecl=work_dirs/.../last.pth pixpro=work_dirs/.../last.pth --suite quick
version = 1
protocols = ("retrieval_streets", "probe_streets", "measures_streets")
