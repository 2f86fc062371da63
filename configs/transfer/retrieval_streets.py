# Dense retrieval on the embedded streets, with 5 % and all of the labels (20 and 400 frames): each
# cell of a frame takes the vote of its 30 nearest labelled cells. No step is made.
#   densecl transfer retrieval_streets --checkpoint densecl=work_dirs/.../last.pth
# A frame has 300 cells at stride 8: the memory holds all cells of 20 frames, or 50 of each of 400.
# Its size decides the number, so scores of other sizes do not compare.
_base_ = ["../_base_/streets.py", "../_base_/three_subsets.py"]

retrieval = dict(grid=8, k=30, temperature=0.02, memory=20_000, pick="rare")
fractions = (0.05, 1.0)
