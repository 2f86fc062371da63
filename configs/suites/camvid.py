# Numbers on real photographs: CamVid by its official split, which shares drives between training
# and test. `--data-root` names the folder that holds train/, val/ and test/, each with images/ and
# labels/.
#   densecl evaluate densecl=FILE --suite camvid --data-root DIR
version = 1
protocols = ("retrieval_camvid", "probe_camvid", "upernet_camvid-10pct")
