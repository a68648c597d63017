"""How good a segmentation is: metrics per class, pictures to look at, and the report of a whole data set."""
