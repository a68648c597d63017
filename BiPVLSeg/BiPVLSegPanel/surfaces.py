"""Closed surfaces of a result, one at a time, so that Slicer stays responsive and the run can still be cancelled."""

from __future__ import annotations

from collections.abc import Iterator

import slicer
from slicer.i18n import tr as _

from BiPVLSegLib.slicer.volumes import array_to_matrix

_LABELMAP = "Binary labelmap"
_SURFACE = "Closed surface"


def makeSurfaces(request, prepared: list, staged) -> Iterator[str]:
    """Surfaces where they are asked for, or where the segmentation to update has some.

    A generator: it yields what comes next, as a sentence, and returns the surfaces by organ name, for a single
    segmentation. Those of a sequence are made in its staged nodes, and nothing is returned.
    """
    existing = None if request.outputNode is None else request.outputNode.GetSegmentation()
    if not request.show3D and (existing is None or not existing.ContainsRepresentation(_SURFACE)):
        return {}
    if staged is not None:
        nodes = staged.nodes()
        for number, node in enumerate(nodes):
            yield _message(number, len(nodes))
            node.CreateClosedSurfaceRepresentation()
        return {}
    surfaces, result, images = {}, prepared[0].result, prepared[0].images
    segments = result.segments()
    for number, segment in enumerate(segments):
        yield _message(number, len(segments))
        surfaces[segment.name] = _surface(images[segment.layer], segment.label_value, result.affine, existing)
    return surfaces


def _message(made: int, count: int) -> str:
    return _("Making surfaces for 3D ({made} of {count})...").format(made=made, count=count)


def _surface(image, labelValue: int, affine, existing):
    """One segment's surface by Slicer's own conversion, with the smoothing that is set in the segmentation."""
    image.SetGeometryFromImageToWorldMatrix(array_to_matrix(affine))
    segmentation, segment = slicer.vtkSegmentation(), slicer.vtkSegment()
    segmentation.SetSourceRepresentationName(_LABELMAP)
    if existing is not None:
        segmentation.CopyConversionParameters(existing)
    segment.AddRepresentation(_LABELMAP, image)
    segment.SetLabelValue(labelValue)
    segmentation.AddSegment(segment, "segment")
    segmentation.CreateRepresentation(_SURFACE)
    return segment.GetRepresentation(_SURFACE)
