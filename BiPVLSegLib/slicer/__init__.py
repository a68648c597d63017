"""The bridge to 3D Slicer: a volume node to an array, a result to a segmentation node. Only here is Slicer imported."""
