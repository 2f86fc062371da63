# Dense retrieval on CamVid's official split, from 10 % of the training photos, drawn in temporal
# blocks. `--data-root` names the folder that holds train/, val/ and test/, each with images/ and
# labels/.
#   densecl transfer retrieval_camvid --data-root DIR --checkpoint densecl=FILE
# A photo of 180 x 240 has 690 cells at stride 8; the memory holds those of all 37 photos. The
# official split shares drives between training and test; read the numbers with that in mind.
_base_ = ["../_base_/camvid.py", "../_base_/three_subsets.py"]

retrieval = dict(
    grid=8,
    resize=(180, 240),
    k=30,
    temperature=0.02,
    memory=30_000,
    pick="rare",
)
