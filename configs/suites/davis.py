# Videos of real life: DAVIS 2016 at 240p; labels of the first frame are carried on by frozen
# features. `--data-root` names the folder that holds davis16val_240p/.
#   densecl evaluate densecl=FILE --suite davis --data-root DIR
version = 1
protocols = ("propagation_davis",)
