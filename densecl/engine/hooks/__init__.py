"""What happens around a step, one hook per file."""
