# Three label subsets, each for one pretraining seed; the grid is run on the first of them.
version = 1
subset_seeds = (0, 1, 2)
seeds = (0, 1, 2)
selection = "first"
pairing = "zip"
