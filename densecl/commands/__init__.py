"""The subcommands of `densecl`: each module has `add_arguments(parser)` and `run(args)`."""
