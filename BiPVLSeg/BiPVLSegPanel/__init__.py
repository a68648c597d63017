"""The panel "Segment with BiPVL" of 3D Slicer and the logic behind it; ``BiPVLSeg.py`` beside this folder hosts both."""
