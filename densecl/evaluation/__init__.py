"""One command from checkpoints to a report: suites, rows, resumable runs, the record of it all."""
