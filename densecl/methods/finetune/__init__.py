"""Methods that act while a pretrained backbone is fine-tuned."""
