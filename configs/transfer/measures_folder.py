# Measures of the frozen features on your own pictures, without a single label: `--data-root` names
# their folder.
#   densecl transfer measures_folder --data-root DIR --checkpoint densecl=FILE
data = dict(val=dict(type="ImageFolder", root="."))
measures = dict(size=(224, 224))
seeds = (0, 1, 2)
