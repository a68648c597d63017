"""From a volume and a table of texts to a segmentation."""
