"""Result files: one writer module per format behind `write`, and the STAC documents that describe results."""
